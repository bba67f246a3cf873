//! The command `diff` with a tolerance, with two selections, and with files of other programs.

mod tool;

use std::fs;
use std::path::Path;
use tool::{check_output, json_output, train};
use training_monitor_std::Directory;

fn create_run(dir: &Path) {
    let open = |prefix: &str| Directory::builder(dir.join("run"), prefix).open().unwrap();
    train(open("best"), open("latest"));
}

#[test]
fn the_best_checkpoint_is_compared_with_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    create_run(dir);
    // The best checkpoint was saved in step 3 of the series `best`. The newest checkpoint of both series has iteration 12.
    let title = |arguments: &[&str], code| {
        let text = check_output(dir, &[&["diff", "run", "run"], arguments].concat(), code);
        text.lines().next().unwrap().to_owned()
    };
    let best = "step 3 (iteration 12)";
    assert_eq!(title(&["--step", "1", "--best-b"], 1), format!("step 1 (iteration 4) and {best}"));
    assert_eq!(title(&["--step", "1", "--newest-b"], 1), format!("step 1 (iteration 4) and {best}"));
    assert_eq!(title(&["--best", "--step-b", "1"], 1), format!("{best} and step 1 (iteration 4)"));
    let latest = ["--series-b", "latest", "--newest-b"];
    let expected = format!("{best} and step 12 (iteration 12)");
    assert_eq!(title(&[&["--best"], &latest[..]].concat(), 0), expected);
    assert_eq!(title(&[&["--series", "best", "--step", "3"], &latest[..]].concat(), 0), expected);
    assert!(check_output(dir, &["diff", "run", "run", "--best-b", "--step-b", "1"], 2).contains("cannot be used with"));
}

#[test]
fn json_contains_only_the_selected_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    create_run(dir.path());
    let steps = |arguments: &[&str]| -> Vec<u64> {
        let found = json_output(dir.path(), &[&["inspect", "run", "--json"], arguments].concat());
        let series = found["series"].as_array().unwrap();
        let checkpoints = series.iter().flat_map(|series| series["checkpoints"].as_array().unwrap());
        checkpoints.map(|checkpoint| checkpoint["step"].as_u64().unwrap()).collect()
    };
    assert_eq!(steps(&[]), [1, 3, 12]);
    assert_eq!(steps(&["--best"]), [3]);
    assert_eq!(steps(&["--step", "1"]), [1]);
    assert_eq!(steps(&["--series", "latest"]), [12]);
    let text = check_output(dir.path(), &["inspect", "run", "--json", "--step", "9"], 2);
    assert!(text.contains("no such checkpoint"), "{text}");
}

#[test]
fn a_tolerance_allows_differences() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    create_run(dir);
    // Each epoch adds 0.1 to four of six weights.
    let diff = ["diff", "run", "run", "--series", "best", "--step", "1", "--step-b", "3"];
    let run = |options: &[&str], code| check_output(dir, &[&diff[..], options].concat(), code);
    run(&[], 1);
    run(&["--atol", "0.21"], 0);
    run(&["--atol", "0.19"], 1);
    // The weights of step 3 are 0.3.
    run(&["--rtol", "0.7"], 0);
    run(&["--rtol", "0.6"], 1);
    run(&["--rtol", "0.6", "--atol", "0.03"], 0);
    let found = json_output(dir, &[&diff[..], &["--atol", "0.19", "--json"]].concat());
    assert_eq!(found["items"][0]["change"]["outside"].as_u64(), Some(4));
    assert_eq!((found["items"][1]["change"]["outside"].as_u64(), found["equal"].as_bool()), (Some(0), Some(false)));
    assert!(run(&["--atol", "-1"], 2).contains("a tolerance is a number from 0"));
}

#[test]
fn files_of_tensors_are_compared_with_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    create_run(dir);
    for format in ["npz", "safetensors", "json", "csv"] {
        let file = format!("a.{format}");
        check_output(dir, &["export", "run", "-o", &file], 0);
        check_output(dir, &["diff", "run", &file], 0);
        check_output(dir, &["diff", &file, "run"], 0);
        check_output(dir, &["diff", &file, "a.npz"], 0);
        let text = check_output(dir, &["diff", "run", &file, "--series", "best", "--step", "1"], 1);
        assert!(text.contains("4 of 6"), "{text}");
        // A CSV file does not contain the value `seed`, so it is not compared.
        assert_eq!(check_output(dir, &["diff", "run", &file], 0).contains("seed"), format != "csv");
    }
    fs::write(dir.join("b.csv"), "tensor,type,shape,index,value\nmodel.fc.bias,f32,2,0,1\nmodel.fc.bias,f32,2,1,1\n")
        .unwrap();
    let found = json_output(dir, &["diff", "run", "b.csv", "--json"]);
    assert_eq!(found["items"][0]["only_in"], "first");
    assert_eq!(found["items"][1]["change"]["changed"].as_u64(), Some(2));
    assert!(check_output(dir, &["diff", "-", "-"], 2).contains("only one"));
}
