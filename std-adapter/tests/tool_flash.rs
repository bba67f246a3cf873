//! The tool with flash dumps. It finds the checkpoints that the store of the device finds, lists what the store
//! ignores, and writes images that the store reads.

mod tool;

use std::fs;
use tool::{MemoryFlash, Model, check_output, json_output, run_tool, train};
use training_monitor::ModelCheckpoint;
use training_monitor::checkpoint::{Contents, Crc32, Header, Inspect, encode, inspect};
use training_monitor::event::Never;
use training_monitor::run_record::RunRecord;
use training_monitor::store::flash::Slots;
use training_monitor::store::flash::layout::{CommitRecord, SEAL_OFFSET, STREAM_OFFSET, seal_bytes};
use training_monitor::store::{CheckpointMeta, Store};

/// The size of a slot (the flash area of one checkpoint) in bytes.
const SLOT: usize = 512;
/// The start of the region for the best checkpoints, with three slots. Other data precedes it.
const BEST: usize = 1024;
/// The start of the region for the latest checkpoint, with two slots.
const LATEST: usize = BEST + 3 * SLOT;
/// The end of the region for the latest checkpoint. Other data follows it.
const END: usize = LATEST + 2 * SLOT;

/// The size of an erase block (the smallest area that the flash erases) in bytes.
const BLOCK: usize = 256;

/// Returns a flash dump (a copy of the flash contents) with two regions, as a training run leaves it.
fn create_dump() -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..END + 700).map(|n| (n * 7) as u8).collect();
    bytes[BEST..END].fill(0xFF);
    let (start, rest) = bytes.split_at_mut(LATEST);
    let best = Slots::<_, 3>::open(MemoryFlash::<BLOCK>(start), BEST as u32..LATEST as u32).unwrap();
    let latest = Slots::<_, 2>::open(MemoryFlash::<BLOCK>(rest), 0..2 * SLOT as u32).unwrap();
    train(best, latest);
    bytes
}

/// Step and sequence of each checkpoint that the store of the device finds.
fn checkpoints_of_store<const N: usize>(bytes: &mut [u8]) -> Vec<(u64, u64)> {
    let end = bytes.len() as u32;
    let mut slots = Slots::<_, N>::open(MemoryFlash::<BLOCK>(bytes), 0..end).unwrap();
    let all = (0..).map_while(|index| slots.checkpoint(index).unwrap());
    all.map(|checkpoint| (u64::from(checkpoint.step), u64::from(checkpoint.sequence))).collect()
}

#[test]
fn regions_and_slots_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = create_dump();
    fs::write(dir.path().join("dump.bin"), &bytes).unwrap();
    let found = json_output(dir.path(), &["inspect", "dump.bin", "--json"]);
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
    assert_eq!(steps(0), checkpoints_of_store::<3>(&mut bytes[BEST..LATEST]));
    assert_eq!(steps(1), checkpoints_of_store::<2>(&mut bytes[LATEST..END]));
    // The store removes a checkpoint from its list in RAM, but not from the flash. So the dump still contains step 1,
    // which the store evicted.
    assert_eq!(steps(0), [(1, 2), (2, 4), (3, 6)]);
    assert_eq!((found["leftovers"].as_array().unwrap().len(), found["intact"].as_bool()), (0, Some(true)));
    // The correct geometry (the region and its number of slots) as an argument yields the same checkpoints. A wrong
    // number of slots yields no checkpoint.
    let region = format!("{BEST}..{LATEST:#x}");
    let given = json_output(dir.path(), &["inspect", "dump.bin", "--json", "--region", &region, "--slots", "3"]);
    assert_eq!(given["series"][0]["checkpoints"], series[0]["checkpoints"]);
    let wrong = json_output(dir.path(), &["inspect", "dump.bin", "--json", "--region", &region, "--slots", "2"]);
    assert_eq!(wrong["series"][0]["checkpoints"].as_array().unwrap().len(), 0);
}

#[test]
fn damage_and_interrupted_saves_are_distinguished() {
    let dir = tempfile::tempdir().unwrap();
    let intact = create_dump();
    let state = |change: &dyn Fn(&mut [u8])| {
        let mut bytes = intact.clone();
        change(&mut bytes[LATEST..]);
        fs::write(dir.path().join("dump.bin"), &bytes).unwrap();
        let code = run_tool(dir.path(), &["verify", "-q", "dump.bin"]).status.code();
        let found = json_output(dir.path(), &["inspect", "dump.bin", "--json"]);
        let leftovers = found["leftovers"].as_array().unwrap().iter();
        let states: Vec<String> = leftovers.map(|item| item["state"].as_str().unwrap().to_owned()).collect();
        (code, states.into_iter().filter(|state| state != "free").collect::<Vec<_>>())
    };
    let states = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    // The first change is one bit of a stream (an encoded checkpoint). The second change is one bit of a sealed record.
    // In both cases, the tool reports damage.
    assert_eq!(state(&|latest| latest[150] ^= 1), (Some(1), states(&["damaged"])));
    assert_eq!(state(&|latest| latest[21] ^= 1), (Some(1), states(&["damaged"])));
    // The bytes of the commit record are partly or completely erased, as after a power failure during or before its
    // write.
    assert_eq!(state(&|latest| latest[24..96].fill(0xFF)), (Some(0), states(&["interrupted"])));
    assert_eq!(state(&|latest| latest[..96].fill(0xFF)), (Some(0), states(&["interrupted"])));
    // Only the seal (the end mark of a save) is erased, as after a power failure before its write. The checkpoint is
    // committed.
    assert_eq!(state(&|latest| latest[64..96].fill(0xFF)), (Some(0), states(&[])));
    let found = json_output(dir.path(), &["inspect", "dump.bin", "--json"]);
    let latest = found["series"][1]["checkpoints"].as_array().unwrap();
    assert!(latest.iter().any(|found| found["slot"]["sealed"] == false), "{latest:?}");
}

/// Interrupted commits and copied slots leave checkpoints with the same step or sequence number in several slots. The
/// tool lists the same checkpoints as the store. Four slots hold two different checkpoints in each combination: each
/// slot is blank, or holds a checkpoint with a step and a sequence of 1 or 2, with or without seal.
#[test]
fn duplicates_are_hidden_as_on_the_device() {
    let dir = tempfile::tempdir().unwrap();
    let kinds: Vec<Option<(CheckpointMeta, bool)>> = [(1, 1), (1, 2), (2, 1), (2, 2)]
        .into_iter()
        .map(|(step, sequence)| CheckpointMeta::from(&Header { step, sequence, iteration: 4, ..Header::default() }))
        .flat_map(|meta| [Some((meta, true)), Some((meta, false))])
        .chain([None])
        .collect();
    let mut hidden = 0;
    // Each dump differs from the others. A prime number as the increment varies the content of all slots.
    for number in (0..kinds.len().pow(4)).step_by(29) {
        let mut bytes = vec![0xFF; 4 * SLOT];
        for (index, slot) in bytes.chunks_mut(SLOT).enumerate() {
            if let Some((meta, is_sealed)) = kinds[number / kinds.len().pow(index as u32) % kinds.len()] {
                write_slot(slot, index, meta, is_sealed);
            }
        }
        fs::write(dir.path().join("dump.bin"), &bytes).unwrap();
        let end = bytes.len().to_string();
        let geometry = ["--region", &format!("0..{end}"), "--slots", "4"];
        let found = json_output(dir.path(), &[&["inspect", "dump.bin", "--json"], &geometry[..]].concat());
        let checkpoints = found["series"][0]["checkpoints"].as_array().unwrap().iter();
        let listed: Vec<(u64, u64)> =
            checkpoints.map(|found| (found["step"].as_u64().unwrap(), found["sequence"].as_u64().unwrap())).collect();
        assert_eq!(listed, checkpoints_of_store::<4>(&mut bytes), "{number}");
        let leftovers = found["leftovers"].as_array().unwrap();
        assert_eq!((listed.len() + leftovers.len(), found["intact"].as_bool()), (4, Some(true)), "{number}");
        hidden += leftovers.iter().filter(|item| item["state"] != "free").count();
    }
    assert!(hidden > 300, "{hidden}");
}

/// Writes a checkpoint and its commit record to a slot of a region that starts at address 0.
fn write_slot(slot: &mut [u8], index: usize, meta: CheckpointMeta, is_sealed: bool) {
    let header = Header { step: meta.step, sequence: meta.sequence, iteration: meta.iteration, ..Header::default() };
    let mut stream = [0; SLOT];
    let contents = Contents { header, ..Contents::new(meta.step) };
    let encoded = encode(&mut &mut stream[..], &contents, &mut Model::new()).unwrap();
    let (len, index, size) = (encoded.len, index as u8, SLOT as u32);
    let record = CommitRecord { meta, index, last: 3, size, len, erases: 1, total_erases: 4, durable: 0, failed: 0 };
    let record = record.to_bytes::<Crc32>();
    let mut write = |offset: u32, bytes: &[u8]| slot[offset as usize..][..bytes.len()].copy_from_slice(bytes);
    write(0, &record);
    write(STREAM_OFFSET, &stream[..len as usize]);
    if is_sealed {
        write(SEAL_OFFSET, &seal_bytes(&record));
    }
}

/// Power fails during the last write of a commit, the four bytes of the seal. The tool says the same about the
/// checkpoint as `Store::is_durable` on the device.
#[test]
fn only_a_complete_seal_makes_a_checkpoint_durable() {
    let dir = tempfile::tempdir().unwrap();
    let intact = create_dump();
    for programmed in 0..=4 {
        let mut bytes = intact.clone();
        bytes[LATEST + SEAL_OFFSET as usize + programmed..LATEST + STREAM_OFFSET as usize].fill(0xFF);
        fs::write(dir.path().join("dump.bin"), &bytes).unwrap();
        let found = json_output(dir.path(), &["inspect", "dump.bin", "--json"]);
        let latest = found["series"][1]["checkpoints"].as_array().unwrap();
        let checkpoint = latest.iter().find(|found| found["slot"]["index"] == 0).unwrap();
        let sequence = checkpoint["sequence"].as_u64().unwrap();
        let flash = MemoryFlash::<BLOCK>(&mut bytes[LATEST..END]);
        let is_durable = Slots::<_, 2>::open(flash, 0..2 * SLOT as u32).unwrap().is_durable(sequence as u32);
        assert_eq!(checkpoint["slot"]["sealed"], is_durable, "{programmed} bytes");
        let (seal, text) = match programmed {
            4 => ("complete", None),
            _ => ("incomplete", Some("incomplete seal: power failed")),
        };
        assert_eq!(
            (checkpoint["slot"]["seal"].as_str(), is_durable),
            (Some(seal), programmed == 4),
            "{programmed} bytes"
        );
        let shown = check_output(dir.path(), &["inspect", "dump.bin"], 0);
        assert_eq!(shown.contains(text.unwrap_or("power failed")), text.is_some(), "{programmed} bytes\n{shown}");
        check_output(dir.path(), &["verify", "dump.bin"], 0);
    }
}

#[test]
fn the_device_resumes_from_an_imported_image() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = create_dump();
    fs::write(dir.path().join("dump.bin"), &bytes).unwrap();
    check_output(dir.path(), &["export", "dump.bin", "--to", "csv", "-o", "weights.csv"], 0);
    let text = fs::read_to_string(dir.path().join("weights.csv")).unwrap();
    assert!(text.contains("model.fc.weight,f32,2x3,5,0.0\n"), "{text}");
    fs::write(dir.path().join("weights.csv"), text.replace("2x3,5,0.0", "2x3,5,42.5")).unwrap();
    let region = format!("{LATEST}..{END}");
    let import = ["import", "weights.csv", "--template", "dump.bin", "--to", "flash-image", "--into", "dump.bin"];
    // The dump has two regions, so the arguments must choose one.
    assert!(check_output(dir.path(), &[&import[..], &["-o", "new.bin"]].concat(), 2).contains("to choose one"));
    check_output(dir.path(), &[&import[..], &["-o", "new.bin", "--region", &region, "--slots", "2"]].concat(), 0);

    let mut new = fs::read(dir.path().join("new.bin")).unwrap();
    assert!(new[..LATEST] == bytes[..LATEST] && new[END..] == bytes[END..], "only the region changes");
    assert_eq!(new.len(), bytes.len());
    assert_eq!(checkpoints_of_store::<2>(&mut bytes[LATEST..END]).len(), 2);
    let slots = Slots::<_, 2>::open(MemoryFlash::<BLOCK>(&mut new[LATEST..END]), 0..2 * SLOT as u32).unwrap();
    let mut latest = ModelCheckpoint::<1>::every(4).unwrap().attach(Never, slots).unwrap();
    let mut model = Model::new();
    let info = latest.load_best(&mut model).unwrap().unwrap();
    assert_eq!((model.weight[5], model.weight[0].to_bits(), model.seed), (42.5, (0.1_f32 + 0.1 + 0.1).to_bits(), 300));
    // The run comes from the template. The import raised the iteration above that of the other region, so that the
    // checkpoint is the newest of the dump.
    let mut run = RunIteration(None);
    inspect(&mut latest.store_mut().open(info.sequence, 0).unwrap(), &mut [0; 64], &mut run).unwrap();
    assert_eq!((info.iteration, run.0), (13, Some(12)));
}

/// Reads the iteration in the run record of a stream.
struct RunIteration(Option<u32>);

impl Inspect for RunIteration {
    fn run(&mut self, record: &RunRecord<[u8]>) {
        self.0 = Some(record.engine.iteration);
    }
}

#[test]
fn a_new_image_contains_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("dump.bin"), create_dump()).unwrap();
    check_output(dir.path(), &["export", "dump.bin", "--best", "--to", "npz", "-o", "best.npz"], 0);
    check_output(
        dir.path(),
        &["import", "best.npz", "--to", "flash-image", "--slots", "3", "--slot-size", "1K", "-o", "new.bin"],
        0,
    );
    let mut new = fs::read(dir.path().join("new.bin")).unwrap();
    assert_eq!(new.len(), 3 * 1024);
    assert_eq!(checkpoints_of_store::<3>(&mut new), [(3, 1)]);
    let found = json_output(dir.path(), &["inspect", "new.bin", "--json"]);
    let free = found["leftovers"].as_array().unwrap().iter().filter(|item| item["state"] == "free").count();
    assert_eq!((found["series"][0]["region"]["slots"].as_u64(), free), (Some(3), 2));
    check_output(dir.path(), &["diff", "dump.bin", "new.bin", "--best"], 0);
}
