//! A file system in RAM that can lose power, and every state that POSIX lets the medium be in afterwards.
//!
//! Each operation that changes something is numbered. At the one where the power is cut it still happens in RAM, and
//! fails; every later one fails, too. What is on the medium then ([`Disk::images`]):
//!
//! * a file that was synced since its last change has its content; any other has its old content, its new one, half of
//!   the new, half and zeros, zeros, or garbage of the right length;
//! * a name that was made, changed or removed before the last sync of the directory is so; each later creation,
//!   renaming and removal has happened or not, in any combination (in the order given for one name), and a renaming
//!   may also have left both names.
//!
//! That is more than journaling file systems do: what survives this survives them.
//!
//! ```
//! use training_monitor::{Engine, ModelCheckpoint, checkpoint::Named, event::EpochCompleted};
//! use training_monitor_std::{Directory, test_support::disk::Disk};
//!
//! let mut net = Named::new("net", [0.0_f32; 8]);
//! let disk = Disk::default();
//! disk.cut_at(9); // in the second save
//! let files = Directory::builder("dir", "run").open_on(disk.clone())?;
//! let mut saving = ModelCheckpoint::<1>::every(1)?.n_saved(1).build()?.attach(EpochCompleted, files)?;
//! assert!(Engine::new(5).run(&mut net, 0..2, &mut saving, |_, _, _| 0.0).is_err()); // no medium any more
//!
//! for image in disk.images(1000).0 {
//!     let files = Directory::builder("dir", "run").require_empty(false).open_on(Disk::new(&image))?;
//!     let machine = ModelCheckpoint::<1>::every(1)?.n_saved(1).build()?;
//!     let saving = machine.attach::<_, _>(EpochCompleted, files)?;
//!     assert!(!saving.policy().kept().is_empty());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::directory::FileSystem;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::Path;
use std::rc::Rc;

/// What is on a medium.
pub type Image = BTreeMap<String, Vec<u8>>;

/// A file's content, in RAM and on the medium.
#[derive(Clone, Default)]
struct Inode {
    now: Vec<u8>,
    synced: Vec<u8>,
    dirty: bool,
}

#[derive(Clone)]
enum Change {
    Link(String, usize),
    Rename(String, String, usize),
    Unlink(String),
}

impl Change {
    /// In how many ways the medium may show it.
    fn ways(&self) -> usize {
        if matches!(self, Change::Rename(..)) { 3 } else { 2 }
    }

    fn apply(&self, way: usize, names: &mut BTreeMap<String, usize>) {
        match self {
            _ if way == 0 => (),
            Change::Link(name, inode) => drop(names.insert(name.clone(), *inode)),
            Change::Unlink(name) => drop(names.remove(name)),
            Change::Rename(from, to, inode) => {
                if way == 1 && names.get(from) == Some(inode) {
                    names.remove(from);
                }
                names.insert(to.clone(), *inode);
            }
        }
    }
}

#[derive(Clone, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    /// As of the last sync of the directory.
    synced: BTreeMap<String, usize>,
    changes: Vec<Change>,
    operations: usize,
    cut_at: Option<usize>,
    fault: Option<Fault>,
}

/// Operations that fail and change nothing, as on a full disk; a write has written half before.
#[derive(Clone, Copy)]
pub struct Fault {
    /// From this one on, from 0.
    pub from: usize,
    /// So many.
    pub times: usize,
    /// With this error.
    pub kind: io::ErrorKind,
}

/// The file system, of one directory. Clones are of the same medium.
#[derive(Clone, Default)]
pub struct Disk(Rc<RefCell<State>>);

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

impl State {
    fn is_off(&self) -> bool {
        self.cut_at.is_some_and(|at| self.operations > at)
    }

    /// Counts an operation that changes something. An error when it comes too late, `false` when the power goes in it.
    fn count(&mut self) -> io::Result<bool> {
        if self.is_off() {
            return Err(off());
        }
        self.operations += 1;
        match self.fault {
            Some(fault) if (fault.from..fault.from + fault.times).contains(&(self.operations - 1)) => {
                Err(fault.kind.into())
            }
            _ => Ok(!self.is_off()),
        }
    }
}

fn off() -> io::Error {
    io::Error::other("the power is off")
}

fn outcome(on: bool) -> io::Result<()> {
    if on { Ok(()) } else { Err(off()) }
}

impl Disk {
    /// A medium with this on it.
    pub fn new(image: &Image) -> Self {
        let mut state = State::default();
        for (index, (name, bytes)) in image.iter().enumerate() {
            state.inodes.push(Inode { now: bytes.clone(), synced: bytes.clone(), dirty: false });
            state.names.insert(name.clone(), index);
        }
        state.synced = state.names.clone();
        Disk(Rc::new(RefCell::new(state)))
    }

    /// Cuts the power in the operation of this number, from 0. Of a program that is killed there the same is seen.
    pub fn cut_at(&self, operation: usize) {
        self.0.borrow_mut().cut_at = Some(operation);
    }

    /// Another program goes on where one was killed: what that did is seen, and on the medium or not.
    pub fn go_on(&self) {
        self.0.borrow_mut().cut_at = None;
    }

    /// Whether the power is gone.
    pub fn is_off(&self) -> bool {
        self.0.borrow().is_off()
    }

    /// Has operations fail, or none.
    pub fn fail(&self, fault: Option<Fault>) {
        self.0.borrow_mut().fault = fault;
    }

    /// How many operations have changed something.
    pub fn operations(&self) -> usize {
        self.0.borrow().operations
    }

    /// What programs see.
    pub fn now(&self) -> Image {
        let state = self.0.borrow();
        state.names.iter().map(|(name, inode)| (name.clone(), state.inodes[*inode].now.clone())).collect()
    }

    /// Everything that may be on the medium if the power is gone now. At most `cap`, evenly spread, where there are
    /// more; the second value tells whether there were.
    pub fn images(&self, cap: usize) -> (Vec<Image>, bool) {
        let state = self.0.borrow();
        let contents: Vec<Vec<Vec<u8>>> = state.inodes.iter().map(contents).collect();
        let named = |inode: &usize| {
            state.synced.values().any(|i| i == inode)
                || state.changes.iter().any(|change| match change {
                    Change::Link(_, i) | Change::Rename(_, _, i) => i == inode,
                    Change::Unlink(_) => false,
                })
        };
        let open: Vec<usize> = (0..contents.len()).filter(|i| contents[*i].len() > 1 && named(i)).collect();
        let radix: Vec<usize> =
            state.changes.iter().map(Change::ways).chain(open.iter().map(|i| contents[*i].len())).collect();
        let all: usize = radix.iter().product();
        let step = all.div_ceil(cap);
        let images = (0..all).step_by(step).map(|number| {
            let mut rest = number;
            let digits: Vec<usize> = radix.iter().map(|radix| (rest % radix, rest /= radix).0).collect();
            let (ways, choices) = digits.split_at(state.changes.len());
            let mut names = state.synced.clone();
            state.changes.iter().zip(ways).for_each(|(change, way)| change.apply(*way, &mut names));
            let content = |inode: &usize| {
                let choice = open.iter().position(|i| i == inode).map_or(0, |index| choices[index]);
                contents[*inode][choice].clone()
            };
            names.iter().map(|(name, inode)| (name.clone(), content(inode))).collect()
        });
        (images.collect(), step > 1)
    }
}

/// What a file may hold after a cut.
fn contents(inode: &Inode) -> Vec<Vec<u8>> {
    let mut all = vec![inode.synced.clone()];
    if inode.dirty {
        let (new, len) = (&inode.now, inode.now.len());
        let half = &new[..len / 2];
        let garbage = (0..len).map(|index| (index * 167 + 13) as u8).collect();
        all.extend([new.clone(), half.to_vec(), [half, &vec![0; len - len / 2]].concat(), vec![0; len], garbage]);
        all.sort();
        all.dedup();
    }
    all
}

/// A file that is being written.
pub struct DiskWriter(Disk, usize);

impl Write for DiskWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.0.borrow_mut();
        let counted = state.count();
        let off = state.is_off();
        let inode = &mut state.inodes[self.1];
        if !off || counted.is_ok() {
            let written = if counted.is_ok() { bytes.len() } else { bytes.len() / 2 };
            inode.now.extend_from_slice(&bytes[..written]);
            inode.dirty = true;
        }
        outcome(counted?).map(|()| bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that is being read.
pub struct DiskReader(io::Cursor<Vec<u8>>);

impl Read for DiskReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl FileSystem for Disk {
    type Writer = DiskWriter;
    type Reader = DiskReader;

    fn create(&self, path: &Path) -> io::Result<DiskWriter> {
        let mut state = self.0.borrow_mut();
        let on = state.count()?;
        let name = name(path);
        let inode = match state.names.get(&name) {
            // Truncates what is there.
            Some(inode) => {
                let inode = *inode;
                state.inodes[inode].now.clear();
                state.inodes[inode].dirty = true;
                inode
            }
            None => {
                state.inodes.push(Inode::default());
                let inode = state.inodes.len() - 1;
                state.names.insert(name.clone(), inode);
                state.changes.push(Change::Link(name, inode));
                inode
            }
        };
        outcome(on).map(|()| DiskWriter(self.clone(), inode))
    }

    fn sync(&self, file: &mut DiskWriter) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        outcome(state.count()?)?;
        let inode = &mut state.inodes[file.1];
        inode.synced = inode.now.clone();
        inode.dirty = false;
        Ok(())
    }

    fn open(&self, path: &Path) -> io::Result<DiskReader> {
        let state = self.0.borrow();
        if state.is_off() {
            return Err(off());
        }
        let inode = state.names.get(&name(path)).ok_or(io::ErrorKind::NotFound)?;
        Ok(DiskReader(io::Cursor::new(state.inodes[*inode].now.clone())))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let (from, to) = (name(from), name(to));
        if !state.names.contains_key(&from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let on = state.count()?;
        let inode = state.names.remove(&from).unwrap();
        state.names.insert(to.clone(), inode);
        state.changes.push(Change::Rename(from, to, inode));
        outcome(on)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let name = name(path);
        if !state.names.contains_key(&name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let on = state.count()?;
        state.names.remove(&name);
        state.changes.push(Change::Unlink(name));
        outcome(on)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        outcome(state.count()?)?;
        state.synced = state.names.clone();
        state.changes.clear();
        Ok(())
    }

    fn names(&self, _: &Path) -> io::Result<Vec<OsString>> {
        let state = self.0.borrow();
        if state.is_off() {
            return Err(off());
        }
        Ok(state.names.keys().map(OsString::from).collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.0.borrow().names.contains_key(&name(path)))
    }

    fn is_dir(&self, _: &Path) -> bool {
        true
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}
