//! A directory full of files that look like ours, and of files that do not: `Directory` over a file system in memory.
//!
//! Opening must not panic, must leave alone what is not its own, must come to the same the second time; what it lists
//! must be whole, and the next save must not cost anything that was there.

use super::input;
use crate::models::stream;
use arbitrary::Arbitrary;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Cursor, Write};
use std::path::Path;
use std::rc::Rc;
use training_monitor::checkpoint::{self, Contents, Crc32, Header, Objects, One, Visit, VisitMut};
use training_monitor::handlers::model_checkpoint::Save;
use training_monitor::store::{Store, Stored};
use training_monitor::{ModelCheckpoint, event::Never};
use training_monitor_std::Directory;
use training_monitor_std::directory::FileSystem;

type Files = BTreeMap<String, Vec<u8>>;

/// A directory in memory. Clones are of the same one.
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

fn name(path: &Path) -> String {
    path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned()
}

impl FileSystem for Memory {
    type Writer = File;
    type Reader = Cursor<Vec<u8>>;

    fn create(&self, path: &Path) -> io::Result<File> {
        self.0.borrow_mut().insert(name(path), Vec::new());
        Ok(File(self.clone(), name(path)))
    }
    fn sync(&self, _: &mut File) -> io::Result<()> {
        Ok(())
    }
    fn open(&self, path: &Path) -> io::Result<Cursor<Vec<u8>>> {
        self.0.borrow().get(&name(path)).cloned().map(Cursor::new).ok_or(io::ErrorKind::NotFound.into())
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.0.borrow_mut();
        let bytes = files.remove(&name(from)).ok_or(io::ErrorKind::NotFound)?;
        files.insert(name(to), bytes);
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.borrow_mut().remove(&name(path)).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn names(&self, _: &Path) -> io::Result<Vec<OsString>> {
        Ok(self.0.borrow().keys().map(OsString::from).collect())
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.0.borrow().contains_key(&name(path)))
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
    /// Of how many objects, and under which step.
    save: Option<(bool, u8)>,
}

#[derive(Arbitrary, Debug)]
struct Entry<'a> {
    name: Name<'a>,
    content: Content<'a>,
}

#[derive(Arbitrary, Debug)]
enum Name<'a> {
    /// As it would be called.
    Right,
    Temp,
    Gone,
    Any(&'a str),
    /// Of pieces that mean something.
    Pieces([u8; 6]),
}

#[derive(Arbitrary, Debug)]
enum Content<'a> {
    Bytes(&'a [u8]),
    Stream {
        object: u8,
        both: bool,
        step: u8,
        sequence: u8,
        iteration: u8,
        score: Option<i8>,
        named: bool,
        /// Cut off, or too long.
        cut: Option<u8>,
    },
}

const PREFIXES: [&str; 4] = ["p", "", "p_q", "p.q"];
const PIECES: [&str; 16] =
    ["p", "_", "p_q", "a", "b", "1", "2", ".ckpt", ".", "tmp", "gone", ".1", "ckpt", "é", "s=0.5", "-1"];

/// Two objects of one tensor each.
struct Two([f32; 2], [f32; 1]);

impl Objects for Two {
    fn objects<V: Visit>(&self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.state_dict("a", &self.0)?;
        visitor.state_dict("b", &self.1)
    }
    fn objects_mut<V: VisitMut>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        visitor.state_dict("a", &mut self.0)?;
        visitor.state_dict("b", &mut self.1)
    }
}

/// The right name, if the content has one, and the bytes.
fn content(content: &Content<'_>, prefix: &str) -> (Option<String>, Vec<u8>) {
    let Content::Stream { object, both, step, sequence, iteration, score, named, cut } = content else {
        let Content::Bytes(bytes) = content else { unreachable!("there are two") };
        return (None, bytes.to_vec());
    };
    let object = if *both && object % 2 == 1 { "b" } else { "a" };
    let score_name = Some("s").filter(|_| *named);
    let header = Header {
        step: u32::from(step % 4),
        sequence: u32::from(sequence % 4),
        iteration: u32::from(iteration % 4),
        score: score.map(f32::from),
        score_name,
    };
    let contents = Contents { header, record: None, only: Some(object), allow_non_finite: false };
    let mut bytes = Vec::new();
    let objects = Two([f32::from(*step), 1.0], [2.0]);
    let encoded = if *both {
        checkpoint::encode::<Crc32, _, _>(&mut bytes, &contents, &objects)
    } else {
        checkpoint::encode::<Crc32, _, _>(&mut bytes, &contents, &One("a", objects.0))
    };
    encoded.expect("a Vec takes anything");
    if let Some(cut) = cut {
        bytes.resize(usize::from(*cut), 0);
    }
    let score = header.score_name.zip(header.score);
    let name = training_monitor::name::FileName { prefix, object, step: header.step, score, extension: "ckpt" };
    (Some(name.to_string()), bytes)
}

fn files(input: &Input<'_>, prefix: &str) -> Files {
    let mut files = Files::new();
    for entry in input.files.iter().take(12) {
        let (right, bytes) = content(&entry.content, prefix);
        let right = right.unwrap_or_else(|| "a_1.ckpt".into());
        let name = match entry.name {
            Name::Right => right,
            Name::Temp => format!(".{right}.{}.tmp", prefix.len()),
            Name::Gone => format!(".{right}.{}.gone", prefix.len()),
            Name::Any(name) => name.into(),
            Name::Pieces(pieces) => pieces.iter().map(|piece| PIECES[usize::from(piece % 16)]).collect(),
        };
        // What no directory can have.
        if !name.is_empty() && !name.contains(['/', '\0']) && name != "." && name != ".." {
            files.insert(name, bytes);
        }
    }
    files
}

/// Whether a name may be one of ours: the rest must never be touched.
fn may_be_ours(name: &str, prefix: &str) -> bool {
    let begins = |name: &str| prefix.is_empty() || name.starts_with(&format!("{prefix}_"));
    let hidden = name.strip_prefix('.').is_some_and(begins) && (name.ends_with(".tmp") || name.ends_with(".gone"));
    (begins(name) && name.ends_with(".ckpt")) || hidden
}

fn open(memory: &Memory, prefix: &str) -> Directory<Memory> {
    let builder = Directory::builder("/directory", prefix).require_empty(false);
    builder.open_on(memory.clone()).expect("nothing fails in memory")
}

fn listed<S: Store>(store: &mut S) -> Vec<Stored> {
    let mut all = Vec::new();
    while let Ok(Some(stored)) = store.stored(all.len() as u32) {
        all.push(stored);
    }
    all
}

/// Hostile directories.
pub fn directory(data: &[u8]) {
    let Some(input) = input::<Input<'_>>(data) else { return };
    let prefix = PREFIXES[usize::from(input.prefix) % PREFIXES.len()];
    let memory = Memory::default();
    let before = files(&input, prefix);
    *memory.0.borrow_mut() = before.clone();

    let mut store = open(&memory, prefix);
    let after = memory.0.borrow().clone();
    for (name, bytes) in before.iter().filter(|(name, _)| !may_be_ours(name, prefix)) {
        assert_eq!(after.get(name), Some(bytes), "{name:?} is not ours: {input:?}");
    }
    let all = listed(&mut store);
    check(&store, &all, &after, &input);
    drop(store);
    let mut store = open(&memory, prefix);
    // But for the score, about which forged files of one set may disagree.
    let steps = |all: &[Stored]| all.iter().map(|stored| (stored.step, stored.sequence)).collect::<Vec<_>>();
    assert_eq!(steps(&listed(&mut store)), steps(&all), "a second opening finds something else: {input:?}");
    assert_eq!(*memory.0.borrow(), after, "a second opening changes something: {input:?}");

    let Some((both, step)) = input.save else { return };
    // With room for all, so that nothing is removed for the new one.
    let machine = ModelCheckpoint::<16>::builder().scored().keep_all().build().expect("good settings");
    let mut saving = machine.attach(Never, store).expect("it was just listed");
    let save = Save { step: u32::from(step % 4), score: Some(1.0) };
    let saved = if both {
        saving.save(save, 9, None, &Two([7.0; 2], [8.0]))
    } else {
        saving.save(save, 9, None, &One("a", [7.0; 2]))
    };
    drop(saving);
    let mut store = open(&memory, prefix);
    let now = listed(&mut store);
    let files = memory.0.borrow().clone();
    check(&store, &now, &files, &input);
    for stored in all.iter().filter(|stored| stored.step != save.step) {
        assert!(steps(&now).contains(&(stored.step, stored.sequence)), "{stored:?} was lost by a save: {input:?}");
    }
    let there = now.iter().any(|stored| stored.step == save.step && stored.iteration == 9);
    assert_eq!(there, saved.is_ok(), "{saved:?}: {input:?}");
}

/// Everything listed is whole.
fn check(store: &Directory<Memory>, all: &[Stored], files: &Files, input: &Input<'_>) {
    assert!(all.windows(2).all(|pair| pair[0].sequence <= pair[1].sequence), "{input:?}");
    for stored in all {
        let of: Vec<_> = store.files(stored.step).collect();
        assert!(!of.is_empty(), "{input:?}");
        for path in of {
            let bytes = &files[&name(&path)];
            let found = stream::read(bytes).unwrap_or_else(|| panic!("{path:?} is damaged: {input:?}"));
            assert_eq!(found.numbers, [stored.step, stored.sequence, stored.iteration], "{input:?}");
            assert_eq!(found.len, bytes.len(), "{input:?}");
        }
    }
}
