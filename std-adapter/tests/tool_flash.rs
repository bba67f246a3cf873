//! The tool on flash dumps: it finds what the device's own store would find, says what that would pass over, and what it
//! writes the store reads.

mod tool;

use std::fs;
use tool::{Chip, Model, json, says, tool, train};
use training_monitor::ModelCheckpoint;
use training_monitor::checkpoint::{Crc32, Inspect, inspect};
use training_monitor::event::Never;
use training_monitor::record::Record;
use training_monitor::store::Store;
use training_monitor::store::slots::Slots;

const SLOT: usize = 512;
/// Where the two regions begin; before and behind them is something else.
const BEST: usize = 1024;
const LATEST: usize = BEST + 3 * SLOT;
const END: usize = LATEST + 2 * SLOT;

/// Bytes of an erase block.
const BLOCK: usize = 256;

fn dump() -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..END + 700).map(|n| (n * 7) as u8).collect();
    bytes[BEST..END].fill(0xFF);
    let (start, rest) = bytes.split_at_mut(LATEST);
    let best = Slots::<_, 3, Crc32>::open(Chip::<BLOCK>(start), BEST as u32..LATEST as u32).unwrap();
    let latest = Slots::<_, 2, Crc32>::open(Chip::<BLOCK>(rest), 0..2 * SLOT as u32).unwrap();
    train(best, latest);
    bytes
}

/// What the device's store lists: step, sequence.
fn listed<const N: usize>(bytes: &mut [u8]) -> Vec<(u64, u64)> {
    let end = bytes.len() as u32;
    let mut slots = Slots::<_, N, Crc32>::open(Chip::<BLOCK>(bytes), 0..end).unwrap();
    let all = (0..).map_while(|index| slots.stored(index).unwrap());
    all.map(|stored| (u64::from(stored.step), u64::from(stored.sequence))).collect()
}

#[test]
fn regions_and_slots_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = dump();
    fs::write(dir.path().join("dump.bin"), &bytes).unwrap();
    let found = json(dir.path(), &["inspect", "dump.bin", "--json"]);
    let series = found["series"].as_array().unwrap();
    let place = |index: usize| {
        let region = &series[index]["region"];
        ["start", "slot_size", "slots", "erases"].map(|name| region[name].as_u64().unwrap() as usize)
    };
    assert_eq!(series.len(), 2);
    assert_eq!((place(0), place(1)), ([BEST, SLOT, 3, 3], [LATEST, SLOT, 2, 3]));
    let steps = |index: usize| -> Vec<(u64, u64)> {
        let all = series[index]["checkpoints"].as_array().unwrap().iter();
        all.map(|found| (found["step"].as_u64().unwrap(), found["sequence"].as_u64().unwrap())).collect()
    };
    assert_eq!(steps(0), listed::<3>(&mut bytes[BEST..LATEST]));
    assert_eq!(steps(1), listed::<2>(&mut bytes[LATEST..END]));
    // What was removed is still there: a device forgets that when its power goes.
    assert_eq!(steps(0), [(1, 1), (2, 2), (3, 3)]);
    assert_eq!((found["others"].as_array().unwrap().len(), found["whole"].as_bool()), (0, Some(true)));
    // The same with a geometry that is given, and nothing with a wrong one.
    let region = format!("{BEST}..{LATEST:#x}");
    let given = json(dir.path(), &["inspect", "dump.bin", "--json", "--region", &region, "--slots", "3"]);
    assert_eq!(given["series"][0]["checkpoints"], series[0]["checkpoints"]);
    let wrong = json(dir.path(), &["inspect", "dump.bin", "--json", "--region", &region, "--slots", "2"]);
    assert_eq!(wrong["series"][0]["checkpoints"].as_array().unwrap().len(), 0);
}

#[test]
fn damage_and_cuts_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dump();
    let state = |change: &dyn Fn(&mut [u8])| {
        let mut bytes = whole.clone();
        change(&mut bytes[LATEST..]);
        fs::write(dir.path().join("dump.bin"), &bytes).unwrap();
        let code = tool(dir.path(), &["verify", "-q", "dump.bin"]).status.code();
        let found = json(dir.path(), &["inspect", "dump.bin", "--json"]);
        let others = found["others"].as_array().unwrap().iter();
        let states: Vec<String> = others.map(|other| other["state"].as_str().unwrap().to_owned()).collect();
        (code, states.into_iter().filter(|state| state != "free").collect::<Vec<_>>())
    };
    let states = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    // A bit of a stream, and of a record that has its seal.
    assert_eq!(state(&|latest| latest[150] ^= 1), (Some(1), states(&["damaged"])));
    assert_eq!(state(&|latest| latest[21] ^= 1), (Some(1), states(&["damaged"])));
    // A commit that was cut in its record, or before it.
    assert_eq!(state(&|latest| latest[24..96].fill(0xFF)), (Some(0), states(&["torn"])));
    assert_eq!(state(&|latest| latest[..96].fill(0xFF)), (Some(0), states(&["torn"])));
    // One that was cut before its seal counts.
    assert_eq!(state(&|latest| latest[64..96].fill(0xFF)), (Some(0), states(&[])));
    let found = json(dir.path(), &["inspect", "dump.bin", "--json"]);
    let latest = found["series"][1]["checkpoints"].as_array().unwrap();
    assert!(latest.iter().any(|found| found["slot"]["sealed"] == false), "{latest:?}");
}

#[test]
fn an_image_from_python_is_what_the_device_goes_on_from() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = dump();
    fs::write(dir.path().join("dump.bin"), &bytes).unwrap();
    says(dir.path(), &["export", "dump.bin", "--to", "csv", "-o", "weights.csv"], 0);
    let text = fs::read_to_string(dir.path().join("weights.csv")).unwrap();
    assert!(text.contains("model.fc.weight,2x3,5,0.0\n"), "{text}");
    fs::write(dir.path().join("weights.csv"), text.replace("2x3,5,0.0", "2x3,5,42.5")).unwrap();
    let region = format!("{LATEST}..{END}");
    let import = ["import", "weights.csv", "--template", "dump.bin", "--to", "flash-image", "--into", "dump.bin"];
    // Which region is meant must be said.
    assert!(says(dir.path(), &[&import[..], &["-o", "new.bin"]].concat(), 2).contains("say which is meant"));
    says(dir.path(), &[&import[..], &["-o", "new.bin", "--region", &region, "--slots", "2"]].concat(), 0);

    let mut new = fs::read(dir.path().join("new.bin")).unwrap();
    assert!(new[..LATEST] == bytes[..LATEST] && new[END..] == bytes[END..], "only the region changes");
    assert_eq!(new.len(), bytes.len());
    assert_eq!(listed::<2>(&mut bytes[LATEST..END]).len(), 2);
    let slots = Slots::<_, 2, Crc32>::open(Chip::<BLOCK>(&mut new[LATEST..END]), 0..2 * SLOT as u32).unwrap();
    let mut latest = ModelCheckpoint::<1>::builder().save_interval(4).build().unwrap().attach(Never, slots).unwrap();
    let mut model = Model::new();
    let info = latest.load_best(&mut model).unwrap().unwrap();
    assert_eq!((model.weight[5], model.weight[0].to_bits(), model.seed), (42.5, (0.1_f32 + 0.1 + 0.1).to_bits(), 300));
    // The run goes with it; its iteration is above that of the checkpoint of the same moment in the other region.
    let mut run = Run(None);
    inspect::<Crc32, _, _>(&mut latest.store_mut().open(info.step, 0).unwrap(), &mut [0; 64], &mut run).unwrap();
    assert_eq!((info.iteration, run.0), (13, Some(12)));
}

/// The iteration of a stream's run.
struct Run(Option<u32>);

impl Inspect for Run {
    fn run(&mut self, record: &Record) {
        self.0 = Some(record.engine.iteration);
    }
}

#[test]
fn a_new_image_holds_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("dump.bin"), dump()).unwrap();
    says(dir.path(), &["export", "dump.bin", "--best", "--to", "npz", "-o", "best.npz"], 0);
    says(
        dir.path(),
        &["import", "best.npz", "--to", "flash-image", "--slots", "3", "--slot-size", "1K", "-o", "new.bin"],
        0,
    );
    let mut new = fs::read(dir.path().join("new.bin")).unwrap();
    assert_eq!(new.len(), 3 * 1024);
    assert_eq!(listed::<3>(&mut new), [(3, 1)]);
    let found = json(dir.path(), &["inspect", "new.bin", "--json"]);
    let free = found["others"].as_array().unwrap().iter().filter(|other| other["state"] == "free").count();
    assert_eq!((found["series"][0]["region"]["slots"].as_u64(), free), (Some(3), 2));
    says(dir.path(), &["diff", "dump.bin", "new.bin", "--best"], 0);
}
