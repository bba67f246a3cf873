//! The tool with checkpoint files and directories: its output, its errors, and exact round trips of export and import.

mod tool;

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::Path;
use tool::{Model, check_output, json_output, run_tool, train, try_train};
use training_monitor::checkpoint::{Contents, Header, Series, encode, model_signature};
use training_monitor::event::IterationCompleted;
use training_monitor::store::Store;
use training_monitor::{Engine, ModelCheckpoint};
use training_monitor_std::Directory;
use training_monitor_std::directory::OpenError;
use training_monitor_std::test_support::disk::{Disk, Image};

/// Creates a directory with the run `run`, which has two series of checkpoints.
fn create_run() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let open = |prefix: &str| Directory::builder(dir.path().join("run"), prefix).open().unwrap();
    train(open("best"), open("latest"));
    dir
}

/// Returns the names of all files except lock files.
fn file_names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.ends_with(".lock"));
    names.sort();
    names
}

#[test]
fn inspecting_a_directory_does_not_change_it() {
    let dir = create_run();
    let run = dir.path().join("run");
    // The temporary file of an interrupted save, which `Directory` would remove when it opens the directory.
    fs::write(run.join(".best_model_9_accuracy=0.9.ckpt.4.tmp"), b"TMCK\x02").unwrap();
    // The temporary file of another format version, which `Directory` would not remove.
    fs::write(run.join(".best_model_8_accuracy=0.8.ckpt.4.tmp"), b"TMCK\x63").unwrap();
    let before = file_names(&run);
    let text = check_output(dir.path(), &["inspect", "run"], 0);
    for part in [
        "3 checkpoints, intact",
        "accuracy 0.75",
        "interrupted",
        "series  (default), rule best",
        "run  1, epoch 3",
        "EarlyStopping",
        "0 updates without improvement, best score 0.75",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(text.contains("model.fc.weight") && text.contains("2×3") && text.contains("seed (value)"), "{text}");
    // The weights 0.3, 0.3, 0.3, 0.3, 0, 0.
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let row = |name: &str| words(text.lines().find(|line| line.trim_start().starts_with(name)).expect(name));
    let columns = ["tensor", "type", "shape", "min", "max", "mean", "std", "norm", "zeros", "other"];
    assert_eq!(row("tensor"), columns);
    let weight = row("model.fc.weight");
    assert_eq!(weight[5..], ["0.2", "0.14142", "0.6", "33.3", "%"], "{weight:?}");
    assert!(text.contains("\nparameters  8\n"), "{text}");
    let all = json_output(dir.path(), &["inspect", "run", "--json"]);
    let best = &all["series"][0]["checkpoints"];
    assert_eq!((all["kind"].as_str(), all["series"][0]["name"].as_str()), (Some("directory"), Some("best")));
    assert_eq!((best[0]["step"].as_u64(), best[0]["rank"].as_u64()), (Some(1), Some(2)));
    assert_eq!((best[1]["step"].as_u64(), best[1]["rank"].as_u64()), (Some(3), Some(1)));
    let bias = &best[1]["tensors"][1];
    assert_eq!((bias["name"].as_str(), bias["stats"]["zeros"].as_f64()), (Some("fc.bias"), Some(0.5)));
    assert_eq!((best[1]["rule"].as_str(), best[1]["run_number"].as_u64()), (Some("best"), Some(1)));
    assert_eq!((best[1]["run"]["number"].as_u64(), best[1]["series_name"].as_str()), (Some(1), Some("")));
    assert_eq!(best[1]["run"]["handlers"][0]["counter"].as_u64(), Some(0));
    assert_eq!(best[1]["values"][0]["bytes"].as_str(), Some("ac02")); // The varint encoding of 300.
    check_output(dir.path(), &["verify", "run"], 0);
    assert_eq!(file_names(&run), before);
}

/// Power fails during every operation of two runs in one directory, or while a commit replaces a checkpoint of the same
/// step. The tool lists the checkpoints that the store lists when it opens the directory afterwards, and it changes
/// nothing.
#[test]
fn interrupted_directories_are_shown_as_the_store_opens_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run");
    let completed = train_on(&Disk::default());
    let mut images = HashSet::new();
    for first in [&Image::new(), &completed] {
        for operation in 0.. {
            let disk = Disk::new(first);
            disk.cut_power_at(operation);
            train_on(&disk);
            images.extend(disk.images(16).0);
            if !disk.is_off() {
                break;
            }
        }
    }
    // A commit of another save of step 12 has renamed one of two files.
    let mut replaced = completed;
    replaced.insert("latest_model_12.ckpt".to_owned(), newer_file("model"));
    replaced.insert(".latest_seed_12.ckpt.6.tmp".to_owned(), newer_file("seed"));
    images.insert(replaced);

    images.remove(&Image::new());
    let mut states = BTreeSet::new();
    for image in &images {
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        image.iter().for_each(|(name, bytes)| fs::write(path.join(name), bytes).unwrap());
        let context = format!("{:?}", image.keys());
        let found = json_output(dir.path(), &["inspect", "run", "--json"]);
        assert!(image.keys().eq(&file_names(&path)));
        let leftovers = found["leftovers"].as_array().unwrap().iter();
        states.extend(leftovers.map(|item| item["state"].as_str().unwrap().to_owned()));
        assert_eq!(shown_checkpoints(&found), opened_checkpoints(&path), "{context}\n{found:#}");
        assert_eq!(found["intact"].as_bool(), Some(true), "{context}\n{found:#}");
        // After the recovery by the store, the directory contains only checkpoints.
        if !file_names(&path).is_empty() {
            let found = json_output(dir.path(), &["inspect", "run", "--json"]);
            assert_eq!(found["leftovers"].as_array().map(Vec::len), Some(0), "{context}\n{found:#}");
        }
    }
    assert!(images.len() > 200, "{}", images.len());
    assert!(states.iter().eq(["interrupted", "removing", "replaced"]), "{states:?}");
}

/// Trains on a simulated disk until power fails. Returns the files.
fn train_on(disk: &Disk) -> Image {
    if let (Ok(best), Ok(latest)) = (open_on(disk, "best"), open_on(disk, "latest")) {
        try_train(best, latest);
    }
    disk.files()
}

/// A file of a checkpoint of step 12 that is newer than the checkpoint of the run.
fn newer_file(object: &str) -> Vec<u8> {
    let series = Series { model: model_signature(&mut Model::new()).unwrap(), ..Series::default() };
    let header = Header { step: 12, sequence: 99, run: 1, iteration: 99, series, save_id: 5, ..Header::default() };
    let contents = Contents { header, single_object: Some(object), ..Contents::new(12) };
    let mut bytes = [0; 512];
    let encoded = encode(&mut &mut bytes[..], &contents, &mut Model::new()).unwrap();
    bytes[..encoded.len as usize].to_vec()
}

fn open_on(disk: &Disk, prefix: &str) -> Result<Directory<Disk>, OpenError> {
    Directory::builder("dir", prefix).require_empty(false).open_on(disk.clone())
}

/// The series, step and sequence of each checkpoint in the output of the tool, in the order of the output.
fn shown_checkpoints(found: &serde_json::Value) -> Vec<(String, u64, u64)> {
    let all = found["series"].as_array().into_iter().flatten();
    let checkpoints = all.flat_map(|series| series["checkpoints"].as_array().unwrap().iter().map(move |c| (series, c)));
    let number = |value: &serde_json::Value| value.as_u64().unwrap();
    checkpoints
        .map(|(series, c)| (series["name"].as_str().unwrap().to_owned(), number(&c["step"]), number(&c["sequence"])))
        .collect()
}

/// The series, step and sequence of each checkpoint that the store lists after it has opened the directory.
fn opened_checkpoints(path: &Path) -> Vec<(String, u64, u64)> {
    let mut checkpoints = Vec::new();
    for prefix in ["best", "latest"] {
        let mut directory = Directory::builder(path, prefix).require_empty(false).open().unwrap();
        let listed = (0..).map_while(|index| directory.checkpoint(index).unwrap());
        checkpoints.extend(listed.map(|meta| (prefix.to_owned(), meta.step.into(), meta.sequence.into())));
    }
    checkpoints
}

/// A trainer replaces and removes files while the tool reads them. The tool sees a consistent state each time.
#[test]
fn a_running_trainer_does_not_disturb_the_tool() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Directory::builder(dir.path().join("run"), "latest").durable(false).open().unwrap();
    let mut checkpoint = ModelCheckpoint::<1>::every(1).unwrap().attach(IterationCompleted, open()).unwrap();
    let mut train = || {
        Engine::<f32>::new(1).run(&mut Model::new(), 0..20, &mut checkpoint, |model, batch: u32, _| {
            model.seed = batch;
            0.0
        })
    };
    // The directory contains only a lock file.
    check_output(dir.path(), &["verify", "run"], 0);
    train().unwrap();
    std::thread::scope(|scope| {
        let tool = scope.spawn(|| {
            for _ in 0..32 {
                check_output(dir.path(), &["verify", "run"], 0);
                let found = json_output(dir.path(), &["inspect", "run", "--json"]);
                let checkpoints = shown_checkpoints(&found);
                assert!((1..=2).contains(&checkpoints.len()), "{found:#}");
                assert_eq!(found["intact"].as_bool(), Some(true), "{found:#}");
            }
        });
        while !tool.is_finished() {
            train().unwrap();
        }
        tool.join().unwrap();
    });
}

#[test]
fn a_copied_checkpoint_file_is_foreign() {
    let dir = create_run();
    let run = dir.path().join("run");
    fs::copy(run.join("latest_model_12.ckpt"), run.join("latest_model_12 (1).ckpt")).unwrap();
    check_output(dir.path(), &["export", "run", "--to", "json", "-o", "run.json"], 0);
    check_output(dir.path(), &["import", "run.json", "--to", "checkpoint", "-o", "run/best_12.ckpt"], 0);
    let found = json_output(dir.path(), &["inspect", "run", "--json"]);
    let leftovers = found["leftovers"].as_array().unwrap();
    let states: Vec<_> = leftovers.iter().map(|item| (item["place"].as_str(), item["state"].as_str())).collect();
    assert_eq!(states, ["best_12.ckpt", "latest_model_12 (1).ckpt"].map(|name| (Some(name), Some("foreign"))));
    assert_eq!((shown_checkpoints(&found), found["intact"].as_bool()), (opened_checkpoints(&run), Some(true)));
}

#[test]
fn damage_of_any_byte_is_found() {
    let dir = create_run();
    let path = dir.path().join("run/latest_model_12.ckpt");
    let intact = fs::read(&path).unwrap();
    for index in 0..intact.len() {
        let mut damaged = intact.clone();
        damaged[index] ^= 0x10;
        fs::write(&path, &damaged).unwrap();
        assert_eq!(run_tool(dir.path(), &["verify", "--quiet", "run"]).status.code(), Some(1), "byte {index}");
    }
    for len in [0, 3, 5, intact.len() - 1] {
        fs::write(&path, &intact[..len]).unwrap();
        assert_eq!(run_tool(dir.path(), &["verify", "--quiet", "run"]).status.code(), Some(1), "{len} bytes");
    }
    let text = check_output(dir.path(), &["verify", "run"], 1);
    assert!(text.contains("latest_model_12.ckpt") && text.contains("damaged"), "{text}");
    let verdicts = json_output(dir.path(), &["verify", "run/best_model_3_accuracy=0.75.ckpt", "run", "--json"]);
    assert_eq!((verdicts[0]["intact"].as_bool(), verdicts[1]["intact"].as_bool()), (Some(true), Some(false)));
    assert_eq!(
        (verdicts[1]["checkpoints"].as_u64(), verdicts[1]["damaged"][0]["state"].as_str()),
        (Some(2), Some("damaged"))
    );
    fs::write(&path, [&intact[..], b"more"].concat()).unwrap();
    let text = check_output(dir.path(), &["verify", "run/latest_model_12.ckpt"], 1);
    assert!(text.contains("4 bytes follow"), "{text}");
    assert_eq!(text.matches("latest_model_12.ckpt").count(), 1, "{text}");
    // The tool cannot read the paths `absent` and `missing`. It still checks `run`, and exits with 2.
    let output = run_tool(dir.path(), &["verify", "absent", "run", "missing"]);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("damaged run") && err.contains("read absent") && err.contains("read missing"), "{out}{err}");
    assert_eq!(output.status.code(), Some(2));
    let verdicts = json_output(dir.path(), &["verify", "absent", "run", "--json"]);
    assert!(verdicts[0]["error"].is_string() && verdicts[1]["intact"] == false, "{verdicts}");
    // A checkpoint consists of several files. Without one of them, the tool reports it as incomplete, and `verify`
    // fails.
    fs::remove_file(&path).unwrap();
    assert!(check_output(dir.path(), &["inspect", "run"], 0).contains("incomplete: no file for model"));
    check_output(dir.path(), &["verify", "run"], 1);
}

#[test]
fn export_and_import_preserve_all_bytes() {
    let dir = create_run();
    let run = |arguments: &[&str]| check_output(dir.path(), arguments, 0);
    run(&["export", "run", "--best", "--to", "json", "-o", "run.json"]);
    run(&["import", "run.json", "--to", "checkpoint", "-o", "run.ckpt"]);
    let original = fs::read(dir.path().join("run.ckpt")).unwrap();
    for format in ["safetensors", "npz", "json", "csv"] {
        run(&["export", "run.ckpt", "--to", format, "-o", "file", "--force"]);
        let mut back = vec!["import", "file", "--to", "checkpoint", "-o", "back.ckpt", "--force"];
        if format == "csv" {
            back.extend(["--template", "run.ckpt"]);
        }
        run(&back);
        assert!(fs::read(dir.path().join("back.ckpt")).unwrap() == original, "{format}");
    }
    // The test writes a number of the exported JSON in another notation. The import must yield the same bits.
    let text = fs::read_to_string(dir.path().join("run.json")).unwrap();
    let other = text.replace("0.30000001192092896", "3.0000001192092896E-01");
    assert_ne!(other, text);
    fs::write(dir.path().join("other.json"), other).unwrap();
    run(&["import", "other.json", "--to", "checkpoint", "-o", "back.ckpt", "--force"]);
    assert!(fs::read(dir.path().join("back.ckpt")).unwrap() == original);
    // A checkpoint consists of several files. The tool can also export and import a single one of them.
    run(&["export", "run/latest_model_12.ckpt", "--to", "npz", "-o", "part.npz"]);
    run(&["import", "part.npz", "--to", "checkpoint", "-o", "part.ckpt"]);
    assert!(
        fs::read(dir.path().join("part.ckpt")).unwrap()
            == fs::read(dir.path().join("run/latest_model_12.ckpt")).unwrap()
    );
    let named = run(&["export", "run.ckpt", "--to", "csv"]);
    assert!(named.contains("run_3.csv") && dir.path().join("run_3.csv").exists(), "{named}");
    assert!(run(&["diff", "run", "run.ckpt", "--best"]).contains("no difference"));
}

#[test]
fn diff_counts_changed_elements() {
    let dir = create_run();
    let all =
        json_output(dir.path(), &["diff", "run", "run", "--series", "best", "--step", "1", "--step-b", "3", "--json"]);
    let weight = &all["items"][0];
    // The training changes four of six weights by 0.1 in each epoch.
    assert_eq!((weight["name"].as_str(), weight["change"]["changed"].as_u64()), (Some("model.fc.weight"), Some(4)));
    let (max, l2) = (weight["change"]["max_abs"].as_f64().unwrap(), weight["change"]["l2"].as_f64().unwrap());
    assert!((max - 0.2).abs() < 1e-6 && (l2 - 0.4).abs() < 1e-6, "{max} {l2}");
    assert_eq!(all["items"][1]["change"]["changed"].as_u64(), Some(0));
    assert_eq!(all["items"][2]["equal"].as_bool(), Some(true));
    check_output(dir.path(), &["diff", "run", "run", "--series", "best", "--step", "1", "--step-b", "3"], 1);
}

#[test]
fn errors_state_what_a_wrong_file_is() {
    let dir = create_run();
    let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    write("history.jsonl", b"{\"schema\":\"training-monitor-history\",\"version\":1}\n");
    write("empty", b"");
    write("model.pth", b"PK\x03\x04rest");
    write("old.pth", b"\x80\x02}q");
    write("f64.json", br#"{"tensors": {"model.w": {"shape": [2], "data": [1]}}}"#);
    write("bad.csv", b"tensor,type,shape,index,value\nm.w,f32,2,0,1.5\nm.w,f32,2,2,1.5\n");
    check_output(dir.path(), &["export", "run", "--to", "json", "-o", "run.json"], 0);
    fs::create_dir(dir.path().join("nothing")).unwrap();
    fs::create_dir(dir.path().join("broken")).unwrap();
    write("broken/history.jsonl", b"{\"schema\":\"training-monitor-history\",\"version\":1}\n{\"event\":7}\n{}\n");
    write("log", b"INFO epoch 1: loss 0.5\n");
    write("noise", &[0x80, 0, 1, 2]);
    write("cut.ckpt", &fs::read(dir.path().join("run/latest_model_12.ckpt")).unwrap()[..100]);
    let cases: [(&[&str], &str); 21] = [
        (&["inspect", "missing"], "cannot read missing"),
        (&["inspect", "log"], "it is text (`watch`"),
        (&["verify", "bad.csv"], "it is a CSV file of tensors (`import`"),
        (&["inspect", "noise"], "neither a checkpoint nor the record of a flash slot"),
        (&["inspect", "empty"], "it is empty"),
        (&["inspect", "history.jsonl"], "it is the history of a run"),
        (&["inspect", "model.pth"], "zip archive"),
        (&["import", "old.pth", "--to", "checkpoint", "-o", "x"], "pickle"),
        (&["inspect", "nothing"], "none of its files is a checkpoint"),
        (&["inspect", "run", "--step", "77"], "no such checkpoint: available are best (steps 1, 3), latest (step 12)"),
        (&["inspect", "cut.ckpt", "--step", "12"], "no such checkpoint: there is no intact checkpoint"),
        (
            &["import", "f64.json", "--to", "checkpoint", "-o", "x"],
            "tensor model.w has the shape [2], which does not match its 1 element",
        ),
        (&["import", "bad.csv", "--to", "checkpoint", "-o", "x"], "line 3: expected index 1 of tensor m.w, found 2"),
        (&["import", "run.json", "--to", "flash-image", "-o", "x"], "needs --into DUMP, or --slots"),
        (
            &["import", "run.json", "--to", "flash-image", "--slots", "2", "--slot-size", "96", "-o", "x"],
            "cannot write the flash image",
        ),
        (&["import", "history.jsonl", "--to", "checkpoint", "-o", "x"], "it is the history of a run"),
        (&["plot", "run"], "run is not a run: it is a directory without a history.jsonl"),
        (&["plot", "broken"], "error: line 2 of the history file broken/history.jsonl is not a valid event"),
        (&["plot", "run.json", "-o", "x.svg"], "run.json is not the history of a run: it is JSON"),
        (&["watch", "run/latest_model_12.ckpt"], "is not a history or a log: it is a checkpoint"),
        (&["export", "run", "--to", "pickle"], "invalid value 'pickle'"),
    ];
    for (arguments, message) in cases {
        let text = check_output(dir.path(), arguments, 2);
        assert!(text.contains(message), "{arguments:?}: {text}");
        // No message repeats a path.
        assert!(text.matches("history.jsonl").count() <= 1, "{arguments:?}: {text}");
        assert!(!dir.path().join("x").exists(), "{arguments:?}");
    }
}

#[test]
fn completions_and_help_contain_all_commands() {
    let dir = tempfile::tempdir().unwrap();
    let commands = ["inspect", "verify", "export", "import", "diff", "plot", "watch", "completions"];
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let text = check_output(dir.path(), &["completions", shell], 0);
        assert!(commands.iter().all(|command| text.contains(command)), "{shell}");
    }
    let help = check_output(dir.path(), &["--help"], 0);
    assert!(commands.iter().all(|command| help.contains(command)) && help.contains("Exit codes"), "{help}");
}

/// A directory whose checkpoints have one file each.
#[test]
fn directory_with_one_file_per_checkpoint_is_listed() {
    use training_monitor::{Engine, ModelCheckpoint, checkpoint::Named, event::EpochCompleted};
    let dir = tempfile::tempdir().unwrap();
    let files = training_monitor_std::Directory::builder(dir.path(), "run").single_file(true).open().unwrap();
    let mut checkpoint = ModelCheckpoint::<1>::every(1).unwrap().attach(EpochCompleted, files).unwrap();
    let mut model = Named::new("net", [0.5_f32; 3]);
    Engine::<()>::new(2).run(&mut model, 0..2, &mut checkpoint, |_, _, _| ()).unwrap();
    drop(checkpoint);
    // A file of another name does not belong to the series.
    std::fs::copy(dir.path().join("run_checkpoint_2.ckpt"), dir.path().join("copy.ckpt")).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_training-monitor"))
        .args(["inspect", "--json"])
        .arg(dir.path())
        .output()
        .unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["series"][0]["name"], "run", "{report:#}");
    assert_eq!(report["series"][0]["checkpoints"][0]["step"], 2, "{report:#}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("the name of the file does not match its content"));
}
