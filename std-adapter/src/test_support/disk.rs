//! A simulated directory in RAM whose power can fail, with all states of the medium that POSIX allows afterwards.
//!
//! Operations that change the directory are numbered from 0. The operation during which power fails takes effect in RAM
//! and returns an error; all later operations return errors without an effect. [`Disk::images`] returns all possible
//! contents of the medium after the power failure:
//!
//! * A file that was synchronized after its last change has its current content. Any other file has its old content,
//!   its new content, the first half of its new content, the first half followed by zeros, only zeros, or garbage. The
//!   length of zeros and garbage is that of the new content.
//! * Each file created, renamed or removed before the last synchronization of the directory has its current name. Each
//!   later creation, renaming and removal has reached the medium or not, in any combination, and a rename may have left
//!   both names. Changes of one name keep their order.
//!
//! The disk does not contain lock files. It knows which names are locked, and a power failure or the end of the program
//! releases all locks.
//!
//! Journaling file systems allow only a subset of these states. Therefore a program that handles all of these states
//! also survives a power failure on a journaling file system.
//!
//! ```
//! use training_monitor::{Engine, ModelCheckpoint, checkpoint::Named, event::EpochCompleted};
//! use training_monitor_std::{Directory, test_support::disk::Disk};
//!
//! let mut net = Named::new("net", [0.0_f32; 8]);
//! let disk = Disk::default();
//! disk.cut_power_at(9); // during the second save
//! let files = Directory::builder("dir", "run").open_on(disk.clone())?;
//! let mut checkpoint = ModelCheckpoint::<1>::every(1)?.attach(EpochCompleted, files)?;
//! assert!(Engine::new(5).run(&mut net, 0..2, &mut checkpoint, |_, _, _| 0.0).is_err()); // the power is off
//!
//! for image in disk.images(1000).0 {
//!     let files = Directory::builder("dir", "run").require_empty(false).open_on(Disk::new(&image))?;
//!     let checkpoint = ModelCheckpoint::<1>::every(1)?.attach(EpochCompleted, files)?;
//!     assert!(!checkpoint.policy().kept().is_empty()); // the first or the second checkpoint
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod files;

pub use files::{DiskLock, DiskReader, DiskWriter};

use super::random::Random;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::rc::Rc;

/// The content of a disk: a map from file names to file contents.
pub type Image = BTreeMap<String, Vec<u8>>;

/// The content of a file, in RAM and on the medium.
#[derive(Clone, Debug, Default)]
struct Inode {
    /// The content in RAM, which programs see when they read the file.
    current: Vec<u8>,
    /// The content at the last synchronization of the file, which is on the medium.
    synced: Vec<u8>,
    /// Whether the file changed after its last synchronization.
    is_dirty: bool,
}

/// A creation, renaming or removal of a file. The number is the index of the inode (the content of the file).
#[derive(Clone, Debug)]
enum NameChange {
    Create(String, usize),
    Rename(String, String, usize),
    Remove(String),
}

impl NameChange {
    /// Returns how many different effects the change can have on the medium if power fails.
    fn effect_count(&self) -> usize {
        if matches!(self, NameChange::Rename(..)) { 3 } else { 2 }
    }

    /// Applies one of the possible effects of the change to `names`, the file names on the medium. Effect 0 changes
    /// nothing, and effect 1 is the complete change. Effect 2 exists only for a rename and leaves both names.
    fn apply(&self, effect: usize, names: &mut BTreeMap<String, usize>) {
        match self {
            _ if effect == 0 => (),
            NameChange::Create(name, inode) => drop(names.insert(name.clone(), *inode)),
            NameChange::Remove(name) => drop(names.remove(name)),
            NameChange::Rename(from, to, inode) => {
                if effect == 1 && names.get(from) == Some(inode) {
                    names.remove(from);
                }
                names.insert(to.clone(), *inode);
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
struct DiskState {
    inodes: Vec<Inode>,
    /// The current file names. Each name maps to the index of its inode (the content of the file).
    names: BTreeMap<String, usize>,
    /// The file names at the last synchronization of the directory. These names survive a power failure.
    synced_names: BTreeMap<String, usize>,
    /// All changes of file names after the last synchronization of the directory.
    changes: Vec<NameChange>,
    /// The number of operations that changed or synchronized the directory or a file.
    operations: usize,
    /// The number of the operation during which power fails.
    power_failure_at: Option<usize>,
    fault: Option<DiskFault>,
    /// The locked names. Each name maps to the number of its lock and to the text of the owner.
    locks: BTreeMap<String, (usize, String)>,
    /// The number of locks that were ever taken.
    lock_count: usize,
    /// Whether the file system has no locks.
    has_no_locks: bool,
}

/// An injected fault: a range of operations fails, as on a full disk. A failing write writes half of its bytes. All
/// other failing operations have no effect.
#[derive(Clone, Copy, Debug)]
pub struct DiskFault {
    /// The number of the first failing operation, from 0.
    pub from: usize,
    /// The number of consecutive operations that fail.
    pub times: usize,
    /// The kind of the error that the operations return.
    pub kind: io::ErrorKind,
}

/// A simulated file system with a single directory. All clones of a value share the same directory.
#[derive(Clone, Debug, Default)]
pub struct Disk(Rc<RefCell<DiskState>>);

fn file_name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

impl DiskState {
    /// Creates a state in which all files of `image` are synchronized.
    fn new(image: &Image) -> Self {
        let mut state = DiskState::default();
        for (index, (name, bytes)) in image.iter().enumerate() {
            state.inodes.push(Inode { current: bytes.clone(), synced: bytes.clone(), is_dirty: false });
            state.names.insert(name.clone(), index);
        }
        state.synced_names = state.names.clone();
        state
    }

    fn is_off(&self) -> bool {
        self.power_failure_at.is_some_and(|at| self.operations > at)
    }

    /// Counts an operation. Returns `true` if the operation succeeds, and `false` if power fails during the operation.
    /// Returns an error if the power is already off, or if a fault is injected.
    fn count_operation(&mut self) -> io::Result<bool> {
        if self.is_off() {
            return Err(power_off_error());
        }
        self.operations += 1;
        if self.is_off() {
            self.locks.clear();
        }
        match self.fault {
            Some(fault) if (fault.from..fault.from + fault.times).contains(&(self.operations - 1)) => {
                Err(fault.kind.into())
            }
            _ => Ok(!self.is_off()),
        }
    }
}

fn power_off_error() -> io::Error {
    io::Error::other("the power is off")
}

/// Returns the result of an operation: success if the power is on after the operation, and an error if power failed
/// during the operation.
fn check_power(is_on: bool) -> io::Result<()> {
    if is_on { Ok(()) } else { Err(power_off_error()) }
}

impl Disk {
    /// Creates a disk that contains the files of `image`. All files are synchronized.
    pub fn new(image: &Image) -> Self {
        Disk(Rc::new(RefCell::new(DiskState::new(image))))
    }

    /// Makes power fail during the operation with the number `operation`, counted from 0. To simulate a killed program
    /// instead, call [`restart_program`](Self::restart_program) after the failure.
    pub fn cut_power_at(&self, operation: usize) {
        self.0.borrow_mut().power_failure_at = Some(operation);
    }

    /// Simulates that the program was killed and is started again. Operations succeed again, and all changes before the
    /// failure are visible. Changes that are not synchronized can still be lost in a power failure.
    pub fn restart_program(&self) {
        let mut state = self.0.borrow_mut();
        state.power_failure_at = None;
        state.locks.clear();
    }

    /// Simulates that the power is switched off and on again. The disk then has one of the contents that
    /// [`images`](Self::images) returns; `random` selects it. All files are synchronized, and operations succeed again.
    pub fn restart_device(&self, random: &mut Random) {
        let mut state = self.0.borrow_mut();
        let outcomes = Outcomes::new(&state);
        let digits: Vec<usize> = outcomes.radices.iter().map(|radix| random.below(*radix)).collect();
        let restarted = DiskState::new(&outcomes.image(&state, &digits));
        *state = DiskState {
            operations: state.operations,
            fault: state.fault,
            lock_count: state.lock_count,
            has_no_locks: state.has_no_locks,
            ..restarted
        };
    }

    /// Returns a copy of the disk that shares nothing with it. The copy has no locks.
    pub fn duplicate(&self) -> Disk {
        let state = self.0.borrow().clone();
        Disk(Rc::new(RefCell::new(DiskState { locks: BTreeMap::new(), ..state })))
    }

    /// Sets whether the file system has locks. By default, it has.
    pub fn set_has_locks(&self, has_locks: bool) {
        self.0.borrow_mut().has_no_locks = !has_locks;
    }

    /// Returns whether power has failed.
    pub fn is_off(&self) -> bool {
        self.0.borrow().is_off()
    }

    /// Sets which operations fail. `None` lets all operations succeed.
    pub fn set_fault(&self, fault: Option<DiskFault>) {
        self.0.borrow_mut().fault = fault;
    }

    /// Returns the number of operations since the creation of the disk. Only operations that change or synchronize the
    /// directory or a file are counted.
    pub fn operations(&self) -> usize {
        self.0.borrow().operations
    }

    /// Returns the names and the contents of the files that programs see. Some of this data may not yet survive a power
    /// failure.
    pub fn files(&self) -> Image {
        let state = self.0.borrow();
        state.names.iter().map(|(name, inode)| (name.clone(), state.inodes[*inode].current.clone())).collect()
    }

    /// Returns all possible contents of the medium if power fails now. If there are more than `cap` contents, returns a
    /// selection of at most `cap` of them. The second value is `true` if contents are left out.
    pub fn images(&self, cap: usize) -> (Vec<Image>, bool) {
        let state = self.0.borrow();
        let outcomes = Outcomes::new(&state);
        let count: usize = outcomes.radices.iter().product();
        let step = count.div_ceil(cap);
        let images = (0..count).step_by(step).map(|number| {
            let mut rest = number;
            let digits: Vec<usize> = outcomes.radices.iter().map(|radix| (rest % radix, rest /= radix).0).collect();
            outcomes.image(&state, &digits)
        });
        (images.collect(), step > 1)
    }
}

/// All possible contents of the medium after a power failure. Each one combines one effect of each name change with one
/// content of each file that is not synchronized. A list of digits selects the effects and the contents.
struct Outcomes {
    /// The possible contents of each inode.
    contents: Vec<Vec<Vec<u8>>>,
    /// The inodes with several possible contents.
    uncertain: Vec<usize>,
    /// The number of choices for each digit: first the name changes, then the uncertain inodes.
    radices: Vec<usize>,
}

impl Outcomes {
    fn new(state: &DiskState) -> Self {
        let contents: Vec<Vec<Vec<u8>>> = state.inodes.iter().map(possible_contents).collect();
        let may_have_name = |inode: &usize| {
            state.synced_names.values().any(|i| i == inode)
                || state.changes.iter().any(|change| match change {
                    NameChange::Create(_, i) | NameChange::Rename(_, _, i) => i == inode,
                    NameChange::Remove(_) => false,
                })
        };
        let uncertain: Vec<usize> =
            (0..contents.len()).filter(|i| contents[*i].len() > 1 && may_have_name(i)).collect();
        let effects = state.changes.iter().map(NameChange::effect_count);
        let radices = effects.chain(uncertain.iter().map(|i| contents[*i].len())).collect();
        Outcomes { contents, uncertain, radices }
    }

    fn image(&self, state: &DiskState, digits: &[usize]) -> Image {
        let (effects, choices) = digits.split_at(state.changes.len());
        let mut names = state.synced_names.clone();
        state.changes.iter().zip(effects).for_each(|(change, effect)| change.apply(*effect, &mut names));
        let content = |inode: &usize| {
            let choice = self.uncertain.iter().position(|i| i == inode).map_or(0, |index| choices[index]);
            self.contents[*inode][choice].clone()
        };
        names.iter().map(|(name, inode)| (name.clone(), content(inode))).collect()
    }
}

/// Returns all possible contents of a file after a power failure.
fn possible_contents(inode: &Inode) -> Vec<Vec<u8>> {
    let mut all = vec![inode.synced.clone()];
    if inode.is_dirty {
        let (new, len) = (&inode.current, inode.current.len());
        let half = &new[..len / 2];
        let garbage = (0..len).map(|index| (index * 167 + 13) as u8).collect();
        all.extend([new.clone(), half.to_vec(), [half, &vec![0; len - len / 2]].concat(), vec![0; len], garbage]);
        all.sort();
        all.dedup();
    }
    all
}
