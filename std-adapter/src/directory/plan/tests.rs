use super::*;

fn naming() -> Naming {
    Naming { prefix: "p".into(), extension: "ckpt".into() }
}

/// Returns a valid file of the checkpoint of step 1. `name` is the complete file name.
fn file(name: &str, sequence: u32, objects: &[&str]) -> FileEntry {
    let objects = objects.iter().map(|object| (*object).to_owned()).collect();
    let summary = StreamSummary { step: 1, sequence, iteration: sequence * 10, objects, ..StreamSummary::default() };
    FileEntry { name: name.to_owned(), content: Ok(summary) }
}

fn rejected(name: &str, reason: IgnoreReason) -> FileEntry {
    FileEntry { name: name.to_owned(), content: Err(reason) }
}

fn remove(file: &str, reason: RemoveReason) -> Action {
    Action::Remove { file: file.to_owned(), step: Some(1), reason }
}

fn rename(from: &str, to: &str) -> Action {
    Action::Rename { from: from.to_owned(), to: to.to_owned(), step: 1 }
}

/// Returns the sequence number and the file names of each checkpoint that exists after the plan is performed.
fn checkpoints(plan: &Plan) -> Vec<(u32, Vec<&str>)> {
    let listed = plan.checkpoints.iter();
    listed.map(|found| (found.meta.sequence, found.files.iter().map(String::as_str).collect())).collect()
}

const TWO: [&str; 2] = ["model", "rng"];

#[test]
fn complete_checkpoint_needs_no_action() {
    let plan = plan(&naming(), [file("p_rng_1.ckpt", 1, &TWO), file("p_model_1.ckpt", 1, &TWO)]);
    assert_eq!((plan.actions.as_slice(), plan.ignored.as_slice()), (&[][..], &[][..]));
    assert_eq!(checkpoints(&plan), [(1, vec!["p_model_1.ckpt", "p_rng_1.ckpt"])]);
}

#[test]
fn files_of_other_series_are_left_out() {
    let plan = plan(&naming(), [rejected("notes.txt", IgnoreReason::Foreign), file(".q_model_1.ckpt.1.tmp", 1, &TWO)]);
    assert_eq!(plan, Plan::default());
}

#[test]
fn interrupted_save_is_removed() {
    let files = [
        file(".p_model_1.ckpt.1.tmp", 1, &TWO),
        file(".p_rng_1.ckpt.1.tmp", 1, &TWO),
        rejected(".p_model_2.ckpt.1.tmp", IgnoreReason::Damaged),
    ];
    let plan = plan(&naming(), files);
    let damaged =
        Action::Remove { file: ".p_model_2.ckpt.1.tmp".into(), step: None, reason: RemoveReason::InterruptedSave };
    let remove = |file| remove(file, RemoveReason::InterruptedSave);
    assert_eq!(plan.actions, [damaged, remove(".p_model_1.ckpt.1.tmp"), remove(".p_rng_1.ckpt.1.tmp")]);
    assert!(plan.checkpoints.is_empty() && plan.ignored.is_empty());
}

#[test]
fn interrupted_commit_is_completed_over_an_older_checkpoint() {
    let old = ["p_model_1.ckpt", "p_rng_1.ckpt"];
    // Power failed after the new save replaced the file of `model` and before it replaced the file of `rng`.
    let plan = plan(&naming(), [file(old[0], 2, &TWO), file(old[1], 1, &TWO), file(".p_rng_1.ckpt.1.tmp", 2, &TWO)]);
    assert_eq!(plan.actions, [rename(".p_rng_1.ckpt.1.tmp", "p_rng_1.ckpt"), Action::SyncDirectory]);
    assert_eq!(checkpoints(&plan), [(2, old.to_vec())]);
    assert_eq!(plan.current_name(old[1]), ".p_rng_1.ckpt.1.tmp");
    assert_eq!(plan.current_name(old[0]), old[0]);
}

#[test]
fn interrupted_commit_does_not_replace_a_foreign_file() {
    let plan = plan(
        &naming(),
        [
            file("p_model_1.ckpt", 1, &TWO),
            file(".p_rng_1.ckpt.1.tmp", 1, &TWO),
            rejected("p_rng_1.ckpt", IgnoreReason::Foreign),
        ],
    );
    assert_eq!(plan.actions, [remove(".p_rng_1.ckpt.1.tmp", RemoveReason::InterruptedSave)]);
    let missing = IgnoreReason::Incomplete { step: 1, sequence: 1, missing: vec!["rng".into()] };
    let ignored = [("p_model_1.ckpt", missing), ("p_rng_1.ckpt", IgnoreReason::Foreign)];
    assert_eq!(plan.ignored, ignored.map(|(name, reason)| IgnoredFile { name: name.into(), reason }));
}

#[test]
fn interrupted_removal_removes_the_tombstone_last() {
    let plan = plan(&naming(), [file(".p_model_1.ckpt.1.deleted", 1, &TWO), file("p_rng_1.ckpt", 1, &TWO)]);
    let remove = |file| remove(file, RemoveReason::InterruptedRemoval);
    assert_eq!(plan.actions, [remove("p_rng_1.ckpt"), Action::SyncDirectory, remove(".p_model_1.ckpt.1.deleted")]);
    assert!(plan.checkpoints.is_empty() && plan.ignored.is_empty());
}

#[test]
fn older_checkpoint_of_the_same_step_is_removed() {
    let plan = plan(&naming(), [file("p_model_1.ckpt", 1, &["model"]), file("p_rng_1.ckpt", 2, &["rng"])]);
    assert_eq!(plan.actions, [remove("p_model_1.ckpt", RemoveReason::Replaced)]);
    assert_eq!(checkpoints(&plan), [(2, vec!["p_rng_1.ckpt"])]);
}

#[test]
fn checkpoints_are_sorted_from_oldest_to_newest() {
    let mut newer = file("p_model_2.ckpt", 1, &["model"]);
    newer.content = newer.content.map(|summary| StreamSummary { step: 2, ..summary });
    let plan = plan(&naming(), [file("p_model_1.ckpt", 3, &["model"]), newer]);
    assert_eq!(checkpoints(&plan), [(1, vec!["p_model_2.ckpt"]), (3, vec!["p_model_1.ckpt"])]);
}

/// Files of different saves agree in step, sequence, iteration and objects.
#[test]
fn files_with_different_save_identities_are_not_combined() {
    let with_id = |name: &str, save_id| {
        let mut file = file(name, 1, &TWO);
        file.content = file.content.map(|summary| StreamSummary { save_id, ..summary });
        file
    };
    let complete = plan(&naming(), [with_id("p_model_1.ckpt", 7), with_id("p_rng_1.ckpt", 8)]);
    assert_eq!((complete.checkpoints.len(), complete.ignored.len(), complete.actions.len()), (0, 2, 0));
    let interrupted = plan(&naming(), [with_id("p_model_1.ckpt", 7), with_id(".p_rng_1.ckpt.1.tmp", 8)]);
    assert_eq!(interrupted.actions, [remove(".p_rng_1.ckpt.1.tmp", RemoveReason::InterruptedSave)]);
}

/// Two series have a checkpoint of the same step. Recovery removes neither, regardless of their age.
#[test]
fn checkpoints_of_two_series_do_not_replace_each_other() {
    let of_model = |name: &str, sequence, model| {
        let mut file = file(name, sequence, &["model"]);
        file.content = file.content.map(|summary| StreamSummary { model, ..summary });
        file
    };
    let two = plan(&naming(), [of_model("p_model_1.ckpt", 1, 7), of_model("p_model_1~2.ckpt", 2, 8)]);
    assert_eq!((two.actions.as_slice(), two.ignored.as_slice()), (&[][..], &[][..]));
    assert_eq!(checkpoints(&two), [(1, vec!["p_model_1.ckpt"]), (2, vec!["p_model_1~2.ckpt"])]);
    // Copied files have the same sequence number. Only one of them is listed, and none is removed.
    let copies = plan(&naming(), [of_model("p_model_1.ckpt", 2, 7), of_model("p_model_1~2.ckpt", 2, 8)]);
    assert_eq!((copies.actions.len(), checkpoints(&copies).len()), (0, 1));
    let duplicate = IgnoreReason::Duplicate { sequence: 2 };
    assert_eq!(copies.ignored, [IgnoredFile { name: "p_model_1.ckpt".into(), reason: duplicate.clone() }]);
    // One object has two files.
    let twice = plan(&naming(), [of_model("p_model_1.ckpt", 2, 7), of_model("p_model_1~2.ckpt", 2, 7)]);
    assert_eq!(checkpoints(&twice), [(2, vec!["p_model_1.ckpt"])]);
    assert_eq!(twice.ignored, [IgnoredFile { name: "p_model_1~2.ckpt".into(), reason: duplicate }]);
}

#[test]
fn temporary_file_with_unknown_content_is_kept() {
    for reason in [IgnoreReason::Version { found: 9 }, IgnoreReason::Newer, IgnoreReason::NotAFile] {
        let plan = plan(&naming(), [rejected(".p_model_1.ckpt.1.tmp", reason.clone())]);
        let ignored = [IgnoredFile { name: ".p_model_1.ckpt.1.tmp".into(), reason }];
        assert_eq!((plan.actions.as_slice(), plan.ignored.as_slice()), (&[][..], &ignored[..]));
    }
}
