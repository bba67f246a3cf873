//! `Directory` on a file system in memory that contains forged checkpoint files and other files.
//!
//! Opening the directory must not panic, must not change files of others, and must give the same result a second time.
//! Every listed checkpoint must be intact. The next save must not lose any of them.

use super::decode;
use crate::models::stream;
use arbitrary::Arbitrary;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Cursor, Write};
use std::path::Path;
use std::rc::Rc;
use training_monitor::checkpoint::{self, Contents, Header, Named};
use training_monitor::handlers::model_checkpoint::SaveDecision;
use training_monitor::store::{CheckpointMeta, Store};
use training_monitor::{ModelCheckpoint, Objects, event::Never};
use training_monitor_std::Directory;
use training_monitor_std::directory::{FileSystem, LockError};

type Files = BTreeMap<String, Vec<u8>>;

/// A directory in memory. All clones share the same files.
#[derive(Clone, Default)]
struct Memory(Rc<RefCell<Files>>);

struct File(Memory, String);

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.0.borrow_mut().entry(self.1.clone()).or_default().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().and_then(|name| name.to_str()).expect("a file name").to_owned()
}

impl FileSystem for Memory {
    type Writer = File;
    type Reader = Cursor<Vec<u8>>;
    type Lock = ();

    fn lock(&self, _: &Path, _: &str) -> Result<(), LockError> {
        Ok(())
    }
    fn create(&self, path: &Path) -> io::Result<File> {
        self.0.borrow_mut().insert(file_name(path), Vec::new());
        Ok(File(self.clone(), file_name(path)))
    }
    fn sync(&self, _: &mut File) -> io::Result<()> {
        Ok(())
    }
    fn open(&self, path: &Path) -> io::Result<Cursor<Vec<u8>>> {
        self.0.borrow().get(&file_name(path)).cloned().map(Cursor::new).ok_or(io::ErrorKind::NotFound.into())
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.0.borrow_mut();
        let bytes = files.remove(&file_name(from)).ok_or(io::ErrorKind::NotFound)?;
        files.insert(file_name(to), bytes);
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.borrow_mut().remove(&file_name(path)).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn names(&self, _: &Path) -> io::Result<Vec<OsString>> {
        Ok(self.0.borrow().keys().map(OsString::from).collect())
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.0.borrow().contains_key(&file_name(path)))
    }
    fn is_dir(&self, _: &Path) -> bool {
        true
    }
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    prefix: u8,
    files: Vec<Entry<'a>>,
    /// A save after opening: whether it has two objects, and its step.
    save: Option<(bool, u8)>,
}

#[derive(Arbitrary, Debug)]
struct Entry<'a> {
    name: Name<'a>,
    content: Content<'a>,
}

#[derive(Arbitrary, Debug)]
enum Name<'a> {
    /// The file name that the library uses for this content.
    Matching,
    /// The name of a temporary file.
    Temporary,
    /// The name of a file that is being removed.
    Tombstone,
    /// Any text.
    Any(&'a str),
    /// A name that consists of six [`PIECES`] (parts of file names). Each number selects one piece.
    Pieces([u8; 6]),
}

#[derive(Arbitrary, Debug)]
enum Content<'a> {
    Bytes(&'a [u8]),
    Stream {
        object: u8,
        has_two_objects: bool,
        step: u8,
        sequence: u8,
        iteration: u8,
        score: Option<i8>,
        has_score_name: bool,
        /// The length of the file, if it is truncated or extended.
        len: Option<u8>,
    },
}

const PREFIXES: [&str; 4] = ["p", "", "p_q", "p.q"];
const PIECES: [&str; 16] =
    ["p", "_", "p_q", "a", "b", "1", "2", ".ckpt", ".", "tmp", "deleted", ".1", "ckpt", "é", "s=0.5", "-1"];

/// Two objects of one tensor each, as a test model for checkpoints with several files.
#[derive(Objects)]
struct TwoObjects {
    a: [f32; 2],
    b: [f32; 1],
}

/// Returns the matching file name of the content, if it has one, and the bytes.
fn content(content: &Content<'_>, prefix: &str) -> (Option<String>, Vec<u8>) {
    let Content::Stream { object, has_two_objects, step, sequence, iteration, score, has_score_name, len } = content
    else {
        let Content::Bytes(bytes) = content else { unreachable!("the enum has two variants") };
        return (None, bytes.to_vec());
    };
    let object = if *has_two_objects && object % 2 == 1 { "b" } else { "a" };
    let score_name = Some("s").filter(|_| *has_score_name);
    let header = Header {
        step: u32::from(step % 4),
        sequence: u32::from(sequence % 4),
        iteration: u32::from(iteration % 4),
        score: score.map(f32::from),
        score_name,
        ..Header::default()
    };
    let contents =
        Contents { header, record: None, single_object: Some(object), allow_non_finite: false, metadata: &[] };
    let mut bytes = Vec::new();
    let mut objects = TwoObjects { a: [f32::from(*step), 1.0], b: [2.0] };
    let encoded = if *has_two_objects {
        checkpoint::encode(&mut bytes, &contents, &mut objects)
    } else {
        checkpoint::encode(&mut bytes, &contents, &mut Named::new("a", objects.a))
    };
    encoded.expect("writing to a Vec does not fail");
    if let Some(len) = len {
        bytes.resize(usize::from(*len), 0);
    }
    let score = header.score_name.zip(header.score);
    let name =
        training_monitor_std::directory::FileName { prefix, object, step: header.step, score, extension: "ckpt" };
    (Some(name.to_string()), bytes)
}

fn files(input: &Input<'_>, prefix: &str) -> Files {
    let mut files = Files::new();
    for entry in input.files.iter().take(12) {
        let (matching, bytes) = content(&entry.content, prefix);
        let matching = matching.unwrap_or_else(|| "a_1.ckpt".into());
        let name = match entry.name {
            Name::Matching => matching,
            Name::Temporary => format!(".{matching}.{}.tmp", prefix.len()),
            Name::Tombstone => format!(".{matching}.{}.deleted", prefix.len()),
            Name::Any(name) => name.into(),
            Name::Pieces(pieces) => pieces.iter().map(|piece| PIECES[usize::from(piece % 16)]).collect(),
        };
        // Adds the file only if a directory can contain its name.
        if !name.is_empty() && !name.contains(['/', '\0']) && name != "." && name != ".." {
            files.insert(name, bytes);
        }
    }
    files
}

/// Whether the file may belong to the series with this prefix. The library must not change any other file.
fn may_belong_to_series(name: &str, prefix: &str) -> bool {
    let has_prefix = |name: &str| prefix.is_empty() || name.starts_with(&format!("{prefix}_"));
    let is_hidden =
        name.strip_prefix('.').is_some_and(has_prefix) && (name.ends_with(".tmp") || name.ends_with(".deleted"));
    (has_prefix(name) && name.ends_with(".ckpt")) || is_hidden
}

fn open(memory: &Memory, prefix: &str) -> Directory<Memory> {
    let builder = Directory::builder("/directory", prefix).require_empty(false);
    builder.open_on(memory.clone()).expect("the file system in memory does not fail")
}

fn listed<S: Store>(store: &mut S) -> Vec<CheckpointMeta> {
    let mut all = Vec::new();
    while let Ok(Some(meta)) = store.checkpoint(all.len() as u32) {
        all.push(meta);
    }
    all
}

/// The fuzz target that opens `Directory` (the store of checkpoint files) on a directory with forged files.
pub fn directory(data: &[u8]) {
    let Some(input) = decode::<Input<'_>>(data) else { return };
    let prefix = PREFIXES[usize::from(input.prefix) % PREFIXES.len()];
    let memory = Memory::default();
    let before = files(&input, prefix);
    *memory.0.borrow_mut() = before.clone();

    let mut store = open(&memory, prefix);
    let after = memory.0.borrow().clone();
    for (name, bytes) in before.iter().filter(|(name, _)| !may_belong_to_series(name, prefix)) {
        assert_eq!(after.get(name), Some(bytes), "{name:?} does not belong to the series: {input:?}");
    }
    let listed_first = listed(&mut store);
    check(&store, &listed_first, &after, &input);
    drop(store);
    let mut store = open(&memory, prefix);
    // The comparison ignores the score: two forged files of one checkpoint can have different scores.
    let steps = |listed: &[CheckpointMeta]| listed.iter().map(|meta| (meta.step, meta.sequence)).collect::<Vec<_>>();
    assert_eq!(
        steps(&listed(&mut store)),
        steps(&listed_first),
        "the second opening lists other checkpoints: {input:?}"
    );
    assert_eq!(*memory.0.borrow(), after, "the second opening changes files: {input:?}");

    let Some((has_two_objects, step)) = input.save else { return };
    // The policy keeps all checkpoints, so the save evicts none.
    let policy = ModelCheckpoint::<16>::by_score().keep_all();
    let mut handler = policy.attach(Never, store).expect("the directory can be listed");
    let decision = SaveDecision { step: u32::from(step % 4), score: Some(1.0) };
    let result = if has_two_objects {
        handler.save(decision, 9, None, &mut TwoObjects { a: [7.0; 2], b: [8.0] })
    } else {
        handler.save(decision, 9, None, &mut Named::new("a", [7.0; 2]))
    };
    drop(handler);
    let mut store = open(&memory, prefix);
    let listed_after_save = listed(&mut store);
    let files = memory.0.borrow().clone();
    check(&store, &listed_after_save, &files, &input);
    for meta in listed_first.iter().filter(|meta| meta.step != decision.step) {
        assert!(steps(&listed_after_save).contains(&(meta.step, meta.sequence)), "the save lost {meta:?}: {input:?}");
    }
    let is_stored = listed_after_save.iter().any(|meta| meta.step == decision.step && meta.iteration == 9);
    assert_eq!(is_stored, result.is_ok(), "{result:?}: {input:?}");
}

/// Checks that each checkpoint that the store lists has files with valid content.
fn check(store: &Directory<Memory>, listed: &[CheckpointMeta], files: &Files, input: &Input<'_>) {
    assert!(listed.windows(2).all(|pair| pair[0].sequence <= pair[1].sequence), "{input:?}");
    for meta in listed {
        let paths: Vec<_> = store.files(meta.sequence).collect();
        assert!(!paths.is_empty(), "{input:?}");
        for path in paths {
            let bytes = &files[&file_name(&path)];
            let content = stream::read(bytes).unwrap_or_else(|| panic!("{path:?} is damaged: {input:?}"));
            assert_eq!(content.numbers, [meta.step, meta.sequence, meta.iteration], "{input:?}");
            assert_eq!(content.len, bytes.len(), "{input:?}");
        }
    }
}
