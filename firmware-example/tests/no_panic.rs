//! Tests that the program `no-panic` calls every public function of the monitor. `firmware-example/check` links that
//! program to prove that the called functions cannot panic.
//!
//! The test reads the source files as text. It relies on two conventions of the sources: each item starts a new line,
//! and public items are declared with `pub`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn collect_sources(directory: &Path, files: &mut Vec<(PathBuf, String)>) {
    let mut entries: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect_sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            files.push((path, text));
        }
    }
}

/// The paths and contents of all Rust source files below `directory`, which is relative to this package.
fn read_sources(directory: &str) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    collect_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(directory), &mut files);
    assert!(!files.is_empty());
    files
}

/// Returns the identifier at the start of `text`.
fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// Returns `text` without the generic parameters at its start, or `None` if the parameters do not end in this line.
fn skip_generics(text: &str) -> Option<&str> {
    if !text.starts_with('<') {
        return Some(text);
    }
    let mut depth = 0;
    let end = text.char_indices().find(|(index, c)| {
        depth += i32::from(*c == '<') - i32::from(*c == '>' && !text[..*index].ends_with('-'));
        depth == 0
    });
    Some(&text[end?.0 + 1..])
}

/// Returns the type of an `impl` block that starts with `line`. The type is the identifier after `for`. Without `for`,
/// it is the identifier after the generic parameters.
fn impl_type(line: &str) -> Option<&str> {
    let rest = skip_generics(line.strip_prefix("impl")?)?;
    let rest = rest.split_once(" for ").map_or(rest, |(_, type_name)| type_name);
    Some(identifier(rest.trim_start()))
}

/// A public function: the name of its type (empty for a free function), its name, and whether it takes `self`.
type Function = (String, String, bool);

fn public_functions() -> BTreeSet<Function> {
    let files = read_sources("../core/src");
    let mut functions = BTreeSet::new();
    for (path, text) in &files {
        // Types that are not accessible outside the crate: types without `pub`, and `pub` types in private modules. The
        // set applies to one file, because another file may declare a public type with the same name.
        let mut private_types = BTreeSet::new();
        let in_private_module =
            ["read/input.rs", "write/output.rs", "run_record/codec.rs"].iter().any(|file| path.ends_with(file));
        for line in text.lines() {
            for kind in ["struct ", "enum ", "trait "] {
                let declared = ["pub(crate) ", "pub(super) ", "pub(in crate::checkpoint) ", ""]
                    .map(|visible| line.strip_prefix(visible)?.strip_prefix(kind));
                let public = line.strip_prefix("pub ").and_then(|rest| rest.strip_prefix(kind));
                let public = public.filter(|_| in_private_module);
                let names = declared.into_iter().flatten().chain(public);
                private_types.extend(names.map(|rest| identifier(rest).to_owned()));
            }
        }
        let mut type_name = String::new();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            if let Some(name) = impl_type(line) {
                type_name = name.to_owned();
            } else if line.starts_with('}') {
                type_name.clear();
            }
            let Some(rest) = line.trim_start().strip_prefix("pub ") else { continue };
            let rest = rest.strip_prefix("const ").unwrap_or(rest);
            let Some(rest) = rest.strip_prefix("fn ") else { continue };
            // If the arguments do not fit into one line, `self` is at the start of the next line.
            let signature = format!("{rest}{}", lines.peek().map_or("", |next| next.trim_start()));
            let arguments = skip_generics(&signature[identifier(rest).len()..]).unwrap_or_default();
            let takes_self = ["(self", "(mut self", "(&self", "(&mut self", "(&'a mut self"]
                .iter()
                .any(|this| arguments.starts_with(this));
            let nested_free_function = type_name.is_empty() && line.starts_with(' ');
            if !private_types.contains(&type_name) && !nested_free_function {
                functions.insert((type_name.clone(), identifier(rest).to_owned(), takes_self));
            }
        }
    }
    functions
}

#[test]
fn the_no_panic_program_calls_every_public_function() {
    let program: String = read_sources("src/bin/no-panic").into_iter().map(|(_, text)| text).collect();
    let contains_call = |name: &str, prefix: &str| {
        program.match_indices(name).any(|(start, _)| {
            let is_whole_name = !program[start + name.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
            is_whole_name && program[..start].ends_with(prefix)
        })
    };
    let functions = public_functions();
    assert!(functions.len() > 100, "{}", functions.len());
    let missing: Vec<_> = functions
        .iter()
        .filter(|(type_name, name, takes_self)| {
            let by_path = contains_call(name, &format!("{type_name}::"))
                || program.contains(&format!("{type_name}::<")) && contains_call(name, ">::");
            let is_called = if type_name.is_empty() {
                contains_call(name, "")
            } else {
                by_path || *takes_self && contains_call(name, ".")
            };
            !is_called
        })
        .collect();
    assert!(missing.is_empty(), "public functions that the program does not call: {missing:#?}");
}
