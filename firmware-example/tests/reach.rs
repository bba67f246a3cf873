//! The program that proves that nothing panics (`firmware-example/check`) proves it of what it reaches: here, that this
//! is every public function of the monitor. The sources are read as text, by rules that they keep: one item begins a
//! line, and what is public says `pub`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn sources(directory: &Path, into: &mut Vec<(PathBuf, String)>) {
    let mut entries: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            into.push((path, text));
        }
    }
}

fn read(directory: &str) -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(directory), &mut all);
    assert!(!all.is_empty());
    all
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// The type that an `impl` is of: the first word after the generics, past `for` if there is one.
fn implements(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("impl")?;
    let rest = if rest.starts_with('<') {
        let mut depth = 0;
        let end = rest.char_indices().find(|(index, c)| {
            depth += i32::from(*c == '<') - i32::from(*c == '>' && !rest[..*index].ends_with('-'));
            depth == 0
        });
        &rest[end?.0 + 1..]
    } else {
        rest
    };
    let rest = rest.split_once(" for ").map_or(rest, |(_, of)| of);
    Some(word(rest.trim_start()))
}

/// What a caller can name: (type, or nothing for a free function; function; whether it takes `self`).
type Function = (String, String, bool);

fn public_functions() -> BTreeSet<Function> {
    let files = read("../core/src");
    let mut all = BTreeSet::new();
    for (path, text) in &files {
        // Types that only the crate itself can name: declared so, or in a module that is not passed on. Their functions
        // are in the same file; another file may have a public type of the name.
        let mut hidden = BTreeSet::new();
        let inner = path.ends_with("checkpoint/input.rs") || path.ends_with("checkpoint/output.rs");
        for line in text.lines() {
            for kind in ["struct ", "enum ", "trait "] {
                let declared =
                    ["pub(crate) ", "pub(super) ", ""].map(|visible| line.strip_prefix(visible)?.strip_prefix(kind));
                let public = line.strip_prefix("pub ").and_then(|rest| rest.strip_prefix(kind)).filter(|_| inner);
                hidden.extend(declared.into_iter().flatten().chain(public).map(|rest| word(rest).to_owned()));
            }
        }
        let mut of = String::new();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            if let Some(name) = implements(line) {
                of = name.to_owned();
            } else if line.starts_with('}') {
                of.clear();
            }
            let Some(rest) = line.trim_start().strip_prefix("pub ") else { continue };
            let rest = rest.strip_prefix("const ").unwrap_or(rest);
            let Some(rest) = rest.strip_prefix("fn ") else { continue };
            // Where the arguments do not fit into the line, `self` is the first of the next.
            let arguments = format!("{rest}{}", lines.peek().map_or("", |next| next.trim_start()));
            let takes_self = ["self", "mut self", "&self", "&mut self"]
                .iter()
                .any(|this| arguments.find('(').is_some_and(|at| arguments[at + 1..].starts_with(this)));
            let free_and_inner = of.is_empty() && line.starts_with(' ');
            if !hidden.contains(&of) && !free_and_inner {
                all.insert((of.clone(), word(rest).to_owned(), takes_self));
            }
        }
    }
    all
}

#[test]
fn the_program_that_proves_that_nothing_panics_calls_every_public_function() {
    let program: String = read("src/bin/no-panic").into_iter().map(|(_, text)| text).collect();
    let calls = |name: &str, before: &str| {
        program.match_indices(name).any(|(at, _)| {
            let ends = !program[at + name.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
            ends && program[..at].ends_with(before)
        })
    };
    let functions = public_functions();
    assert!(functions.len() > 100, "{}", functions.len());
    let missing: Vec<_> = functions
        .iter()
        .filter(|(of, name, takes_self)| {
            let named = calls(name, &format!("{of}::")) || program.contains(&format!("{of}::<")) && calls(name, ">::");
            let called = if of.is_empty() { calls(name, "") } else { named || *takes_self && calls(name, ".") };
            !called
        })
        .collect();
    assert!(missing.is_empty(), "not called: {missing:#?}");
}
