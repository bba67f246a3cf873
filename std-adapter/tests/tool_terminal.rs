//! What the tool prints: no control characters of names, short messages, and scores that JSON has no numbers for.

mod tool;

use std::fs;
use std::path::Path;
use tool::{check_output, json_output, run_tool, tool_command};
use training_monitor::checkpoint::{
    Checksum, Contents, Header, Named, ObjectVisitor, Objects, StateDict, TensorVisitor, encode,
};
use training_monitor::event::IterationCompleted;
use training_monitor::{Engine, ModelCheckpoint};
use training_monitor_std::{Crc32Fast, Directory, History};

/// Clears the screen, changes the title, ends the line, and turns the direction of the text. U+009B is the start of a
/// control sequence in one character.
const EVIL: &str = "x\x1b[2J\x1b]0;t\x07\r\n\u{9b}31m\u{202e}y";

/// A name that a checkpoint can contain: it turns the direction of the text. The encoder refuses control characters.
const TURNED: &str = "x\u{202e}y";

/// A model whose names contain [`TURNED`].
struct Evil {
    weight: [f32; 2],
    seed: u32,
}

impl StateDict for Evil {
    fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.tensor(&format!("{TURNED}.weight"), &mut self.weight)
    }
}

impl Objects for Evil {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.state_dict(&format!("model{TURNED}"), self)?;
        let mut seed = self.seed;
        visitor.value(&format!("seed{TURNED}"), &mut seed)
    }
}

/// Writes a checkpoint file and returns its bytes.
fn write_checkpoint(path: &Path, header: Header<'_>, weight: f32) -> Vec<u8> {
    let metadata = [(TURNED, EVIL.as_bytes())];
    let contents = Contents { header, metadata: &metadata, ..Contents::new(header.step) };
    let mut bytes = vec![0; 4096];
    let mut model = Evil { weight: [weight; 2], seed: 1 };
    let encoded = encode(&mut &mut bytes[..], &contents, &mut model).unwrap();
    bytes.truncate(encoded.len as usize);
    fs::write(path, &bytes).unwrap();
    bytes
}

fn header(score: f32) -> Header<'static> {
    Header { score: Some(score), score_name: Some(TURNED), ..Contents::new(3).header }
}

/// Replaces all occurrences of some bytes in a checkpoint file and corrects the checksum.
fn replace_bytes(mut file: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    for start in 0..file.len() - from.len() {
        if file[start..].starts_with(from) {
            file[start..start + from.len()].copy_from_slice(to);
        }
    }
    let end = file.len() - 4;
    let mut crc = Crc32Fast::default();
    crc.update(&file[..end]);
    file[end..].copy_from_slice(&crc.value().to_le_bytes());
    file
}

/// Checks that a text contains no character that controls the terminal.
fn assert_harmless(text: &[u8], command: &[&str]) {
    let text = std::str::from_utf8(text).unwrap();
    let is_harmful = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!text.contains(is_harmful), "{command:?}\n{text:?}");
    // A name must not add a line either.
    assert!(
        text.lines().all(|line| !line.starts_with("31m") && !line.starts_with(r"\u{9b}31m")),
        "{command:?}\n{text}"
    );
}

#[test]
fn names_never_reach_the_terminal_with_control_characters() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let bytes = write_checkpoint(&at("a.ckpt"), header(0.5), 1.0);
    write_checkpoint(&at("b.ckpt"), header(0.5), 2.0);
    let mut damaged = bytes.clone();
    damaged[40] ^= 1;
    fs::create_dir(at("files")).unwrap();
    fs::write(at(&format!("files/{}.ckpt", EVIL.replace('/', ""))), &damaged).unwrap();
    let evil_file = format!("{}.ckpt", EVIL.replace('/', ""));
    fs::write(at(&evil_file), &damaged).unwrap();
    // A file with a control sequence in each name.
    fs::write(at("names.ckpt"), replace_bytes(bytes.clone(), TURNED.as_bytes(), b"\x1b[2Jy")).unwrap();
    fs::create_dir(at(EVIL)).unwrap();
    let history = History::create(at(EVIL).join("history.jsonl")).unwrap();
    (1..40).for_each(|iteration| history.record_iteration(iteration, 1.0, None));
    history.record_epoch(1, &[(EVIL, 0.5)]);
    history.flush().unwrap();
    fs::write(at("log"), format!("epoch 1: loss 0.5 {}\n", EVIL.replace('\n', ""))).unwrap();
    // A template without the tensor of the imported file.
    let json = serde_json::json!({ "tensors": { format!("q.{EVIL}"): { "shape": [1], "data": [1.0] } } });
    fs::write(at("other.json"), json.to_string()).unwrap();
    let wrong = serde_json::json!({ "tensors": { format!("q.{EVIL}"): { "shape": [2], "data": [1.0] } } });
    fs::write(at("wrong.json"), wrong.to_string()).unwrap();
    let commands: [(&[&str], i32); 14] = [
        (&["inspect", "names.ckpt"], 0),
        (&["inspect", "a.ckpt"], 0),
        (&["inspect", "a.ckpt", "--json"], 0),
        (&["inspect", "files"], 0),
        (&["inspect", "files", "--json"], 0),
        (&["verify", &evil_file], 1),
        (&["verify", &evil_file, "--json"], 1),
        (&["diff", "a.ckpt", "b.ckpt"], 1),
        (&["diff", "a.ckpt", "b.ckpt", "--json"], 1),
        (&["plot", EVIL], 0),
        (&["watch", EVIL, "--plain", "--once"], 0),
        (&["watch", "log", "--plain", "--once"], 0),
        (&["import", "other.json", "--template", "a.ckpt", "-o", "x.ckpt"], 2),
        (&["import", "wrong.json", "-o", "x.ckpt"], 2),
    ];
    for (command, code) in commands {
        let output = run_tool(dir.path(), command);
        assert_eq!(output.status.code(), Some(code), "{command:?}\n{output:?}");
        assert_harmless(&output.stdout, command);
        assert_harmless(&output.stderr, command);
    }
    // The names are still recognizable, and the colors of the tool still work.
    let text = check_output(dir.path(), &["inspect", "a.ckpt"], 0);
    assert!(text.contains(r"modelx\u{202e}y.x\u{202e}y.weight"), "{text}");
    let mut command = tool_command(dir.path(), &["inspect", "a.ckpt"]);
    let output = command.env_remove("NO_COLOR").env("CLICOLOR_FORCE", "1").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\x1b[32mintact\x1b[0m") && !text.contains("\x1b[2J"), "{text:?}");
    // JSON keeps the names.
    let json = json_output(dir.path(), &["inspect", "a.ckpt", "--json"]);
    assert_eq!(json["series"][0]["checkpoints"][0]["tensors"][0]["name"], format!("{TURNED}.weight"));
}

#[test]
fn json_contains_scores_that_are_not_finite_as_strings() {
    let dir = tempfile::tempdir().unwrap();
    for (score, text) in [(f32::INFINITY, "Infinity"), (f32::NEG_INFINITY, "-Infinity")] {
        // `ModelCheckpoint` saves no such score, but another program can.
        let file = write_checkpoint(&dir.path().join("a.ckpt"), header(0.5), 1.0);
        let file = replace_bytes(file, &0.5_f32.to_le_bytes(), &score.to_le_bytes());
        fs::write(dir.path().join("a.ckpt"), file).unwrap();
        let json = json_output(dir.path(), &["inspect", "a.ckpt", "--json"]);
        assert_eq!(json["series"][0]["checkpoints"][0]["score"], text);
    }
    // The format has no score NaN.
    let file = write_checkpoint(&dir.path().join("a.ckpt"), header(0.5), 1.0);
    let file = replace_bytes(file, &0.5_f32.to_le_bytes(), &f32::NAN.to_le_bytes());
    fs::write(dir.path().join("a.ckpt"), file).unwrap();
    assert_eq!(json_output(dir.path(), &["inspect", "a.ckpt", "--json"])["leftovers"][0]["state"], "damaged");
}

#[test]
fn the_list_of_available_steps_is_short() {
    let dir = tempfile::tempdir().unwrap();
    let store = Directory::builder(dir.path().join("run"), "latest").open().unwrap();
    let mut handler = ModelCheckpoint::<50>::every(1).unwrap().attach(IterationCompleted, store).unwrap();
    let mut model = Named::new("model", [0.5_f32; 2]);
    Engine::new(1).run(&mut model, 0..50, &mut handler, |_, _, _| ()).unwrap();
    drop(handler);
    for step in (21..50).step_by(2) {
        fs::remove_file(dir.path().join(format!("run/latest_model_{step}.ckpt"))).unwrap();
    }
    let error = check_output(dir.path(), &["inspect", "run", "--step", "99999"], 2);
    let expected =
        "no such checkpoint: available are latest (steps 1-20, 22, 24, 26, 28, 30, 32, 34, …, 50; 35 in total)";
    assert!(error.contains(expected), "{error}");
}

/// The score of a loss is the negated loss, because the best checkpoint has the highest score. The loss itself has the
/// same sign in tables, in file names and in the history.
#[test]
fn a_loss_has_no_negative_sign() {
    let dir = tempfile::tempdir().unwrap();
    let header = Header { score: Some(-0.25), score_name: Some("val_loss"), ..Contents::new(3).header };
    write_checkpoint(&dir.path().join("a.ckpt"), header, 1.0);
    let text = check_output(dir.path(), &["inspect", "a.ckpt"], 0);
    assert!(text.contains(" val_loss 0.25 (score -0.25) ") && !text.contains("val_loss -"), "{text}");
    let json = json_output(dir.path(), &["inspect", "a.ckpt", "--json"]);
    assert_eq!(json["series"][0]["checkpoints"][0]["score"], -0.25);
}
