//! The tool on checkpoint files and directories: what it shows, what it refuses, and that every byte comes back.

mod tool;

use std::fs;
use std::path::Path;
use tool::{json, says, tool, train};
use training_monitor_std::Directory;

fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let open = |prefix: &str| Directory::builder(dir.path().join("run"), prefix).open().unwrap();
    train(open("best"), open("latest"));
    dir
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_directory_is_shown_and_left_as_it_is() {
    let dir = directory();
    let run = dir.path().join("run");
    // A save that was cut: opening the directory would remove it.
    fs::write(run.join(".best_model_9_accuracy=0.9.ckpt.4.tmp"), b"TMCK\x01").unwrap();
    let before = files(&run);
    let text = says(dir.path(), &["inspect", "run"], 0);
    for part in
        ["3 checkpoints, whole", "accuracy 0.75", "torn", "EarlyStopping", "1 without improvement, best score 0.5"]
    {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(text.contains("model.fc.weight") && text.contains("2×3") && text.contains("seed (value)"), "{text}");
    let all = json(dir.path(), &["inspect", "run", "--json"]);
    let best = &all["series"][0]["checkpoints"];
    assert_eq!((all["kind"].as_str(), all["series"][0]["name"].as_str()), (Some("directory"), Some("best")));
    assert_eq!((best[0]["step"].as_u64(), best[0]["rank"].as_u64()), (Some(1), Some(2)));
    assert_eq!((best[1]["step"].as_u64(), best[1]["rank"].as_u64()), (Some(3), Some(1)));
    let bias = &best[1]["tensors"][1];
    assert_eq!((bias["name"].as_str(), bias["stats"]["zeros"].as_f64()), (Some("fc.bias"), Some(0.5)));
    assert_eq!(best[1]["run"]["handlers"][0]["counter"].as_u64(), Some(0));
    assert_eq!(best[1]["values"][0]["bytes"].as_str(), Some("ac02")); // 300 as a varint
    says(dir.path(), &["verify", "run"], 0);
    assert_eq!(files(&run), before);
}

#[test]
fn every_damage_is_found() {
    let dir = directory();
    let path = dir.path().join("run/latest_model_12.ckpt");
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, &damaged).unwrap();
        assert_eq!(tool(dir.path(), &["verify", "--quiet", "run"]).status.code(), Some(1), "byte {at}");
    }
    for len in [0, 3, 5, whole.len() - 1] {
        fs::write(&path, &whole[..len]).unwrap();
        assert_eq!(tool(dir.path(), &["verify", "--quiet", "run"]).status.code(), Some(1), "{len} bytes");
    }
    let text = says(dir.path(), &["verify", "run"], 1);
    assert!(text.contains("latest_model_12.ckpt") && text.contains("cut short"), "{text}");
    let verdicts = json(dir.path(), &["verify", "run/best_model_3_accuracy=0.75.ckpt", "run", "--json"]);
    assert_eq!((verdicts[0]["whole"].as_bool(), verdicts[1]["whole"].as_bool()), (Some(true), Some(false)));
    assert_eq!(
        (verdicts[1]["checkpoints"].as_u64(), verdicts[1]["damaged"][0]["state"].as_str()),
        (Some(2), Some("damaged"))
    );
    fs::write(&path, [&whole[..], b"more"].concat()).unwrap();
    let text = says(dir.path(), &["verify", "run/latest_model_12.ckpt"], 1);
    assert!(text.contains("4 bytes follow"), "{text}");
    assert_eq!(text.matches("latest_model_12.ckpt").count(), 1, "{text}");
    // What cannot be looked at does not hide the rest, and is no verdict.
    let output = tool(dir.path(), &["verify", "absent", "run", "gone"]);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("damaged run") && err.contains("read absent") && err.contains("read gone"), "{out}{err}");
    assert_eq!(output.status.code(), Some(2));
    let verdicts = json(dir.path(), &["verify", "absent", "run", "--json"]);
    assert!(verdicts[0]["error"].is_string() && verdicts[1]["whole"] == false, "{verdicts}");
    // One file of a set is missing.
    fs::remove_file(&path).unwrap();
    assert!(says(dir.path(), &["inspect", "run"], 0).contains("incomplete without model"));
    says(dir.path(), &["verify", "run"], 1);
}

#[test]
fn what_is_exported_and_imported_is_the_same_file() {
    let dir = directory();
    let of = |arguments: &[&str]| says(dir.path(), arguments, 0);
    of(&["export", "run", "--best", "--to", "json", "-o", "whole.json"]);
    of(&["import", "whole.json", "--to", "checkpoint", "-o", "whole.ckpt"]);
    let whole = fs::read(dir.path().join("whole.ckpt")).unwrap();
    for format in ["safetensors", "npz", "json", "csv"] {
        of(&["export", "whole.ckpt", "--to", format, "-o", "file"]);
        let mut back = vec!["import", "file", "--to", "checkpoint", "-o", "back.ckpt"];
        if format == "csv" {
            back.extend(["--template", "whole.ckpt"]);
        }
        of(&back);
        assert!(fs::read(dir.path().join("back.ckpt")).unwrap() == whole, "{format}");
    }
    // Numbers in another form are the same numbers.
    let text = fs::read_to_string(dir.path().join("whole.json")).unwrap();
    let other = text.replace("0.30000001192092896", "3.0000001192092896E-01");
    assert_ne!(other, text);
    fs::write(dir.path().join("other.json"), other).unwrap();
    of(&["import", "other.json", "--to", "checkpoint", "-o", "back.ckpt"]);
    assert!(fs::read(dir.path().join("back.ckpt")).unwrap() == whole);
    // One file of a set, too.
    of(&["export", "run/latest_model_12.ckpt", "--to", "npz", "-o", "part.npz"]);
    of(&["import", "part.npz", "--to", "checkpoint", "-o", "part.ckpt"]);
    assert!(
        fs::read(dir.path().join("part.ckpt")).unwrap()
            == fs::read(dir.path().join("run/latest_model_12.ckpt")).unwrap()
    );
    let named = of(&["export", "whole.ckpt", "--to", "csv"]);
    assert!(named.contains("whole_3.csv") && dir.path().join("whole_3.csv").exists(), "{named}");
    assert!(of(&["diff", "run", "whole.ckpt", "--best"]).contains("no difference"));
}

#[test]
fn differences_are_counted() {
    let dir = directory();
    let all = json(dir.path(), &["diff", "run", "run", "--series", "best", "--step", "1", "--step-b", "3", "--json"]);
    let weight = &all["items"][0];
    // Four of six weights were trained, by 0.1 an epoch.
    assert_eq!((weight["name"].as_str(), weight["change"]["changed"].as_u64()), (Some("model.fc.weight"), Some(4)));
    let (max, l2) = (weight["change"]["max_abs"].as_f64().unwrap(), weight["change"]["l2"].as_f64().unwrap());
    assert!((max - 0.2).abs() < 1e-6 && (l2 - 0.4).abs() < 1e-6, "{max} {l2}");
    assert_eq!(all["items"][1]["change"]["changed"].as_u64(), Some(0));
    assert_eq!(all["items"][2]["equal"].as_bool(), Some(true));
    says(dir.path(), &["diff", "run", "run", "--series", "best", "--step", "1", "--step-b", "3"], 1);
}

#[test]
fn wrong_files_are_told_from_each_other() {
    let dir = directory();
    let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    write("history.jsonl", b"{\"schema\":\"training-monitor-history\",\"version\":1}\n");
    write("empty", b"");
    write("model.pth", b"PK\x03\x04rest");
    write("old.pth", b"\x80\x02}q");
    write("f64.json", br#"{"tensors": {"model.w": {"shape": [2], "data": [1]}}}"#);
    write("bad.csv", b"tensor,shape,index,value\nm.w,2,0,1.5\nm.w,2,2,1.5\n");
    says(dir.path(), &["export", "run", "--to", "json", "-o", "run.json"], 0);
    fs::create_dir(dir.path().join("nothing")).unwrap();
    write("log", b"INFO epoch 1: loss 0.5\n");
    write("noise", &[0x80, 0, 1, 2]);
    let cases: [(&[&str], &str); 19] = [
        (&["inspect", "missing"], "cannot read missing"),
        (&["inspect", "log"], "it is text (`watch`"),
        (&["verify", "bad.csv"], "as CSV (`import`"),
        (&["inspect", "noise"], "neither a checkpoint nor a record"),
        (&["inspect", "empty"], "it is empty"),
        (&["inspect", "history.jsonl"], "it is the history of a run"),
        (&["inspect", "model.pth"], "zip archive"),
        (&["import", "old.pth", "--to", "checkpoint", "-o", "x"], "pickle"),
        (&["inspect", "nothing"], "none of its files is a checkpoint"),
        (&["inspect", "run", "--step", "77"], "no such checkpoint: there are the steps 1, 3, 12"),
        (&["import", "f64.json", "--to", "checkpoint", "-o", "x"], "1 elements, which is not the shape [2]"),
        (
            &["import", "bad.csv", "--to", "checkpoint", "-o", "x"],
            "line 3: the elements of a tensor are not in the order",
        ),
        (&["import", "run.json", "--to", "flash-image", "-o", "x"], "needs --into DUMP, or --slots"),
        (
            &["import", "run.json", "--to", "flash-image", "--slots", "2", "--slot-size", "96", "-o", "x"],
            "the flash image",
        ),
        (&["import", "history.jsonl", "--to", "checkpoint", "-o", "x"], "it is the history of a run"),
        (&["plot", "run"], "run is not a run: it is a directory without a history.jsonl"),
        (&["plot", "run.json", "-o", "x.svg"], "run.json is not the history of a run: it is JSON"),
        (&["watch", "run/latest_model_12.ckpt"], "is not a history or a log: it is a checkpoint"),
        (&["export", "run", "--to", "pickle"], "invalid value 'pickle'"),
    ];
    for (arguments, message) in cases {
        let text = says(dir.path(), arguments, 2);
        assert!(text.contains(message), "{arguments:?}: {text}");
        assert!(!dir.path().join("x").exists(), "{arguments:?}");
    }
}

#[test]
fn completions_and_help_know_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let commands = ["inspect", "verify", "export", "import", "diff", "plot", "watch", "completions"];
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let text = says(dir.path(), &["completions", shell], 0);
        assert!(commands.iter().all(|command| text.contains(command)), "{shell}");
    }
    let help = says(dir.path(), &["--help"], 0);
    assert!(commands.iter().all(|command| help.contains(command)) && help.contains("Exit codes"), "{help}");
}
