//! The options of `import` that change the tensors of a file: `--skip`, `--rename` and `--cast`.

use super::TensorFile;
use super::importer::{Importer, Layout};
use crate::tool::elements::{Number, cast, for_each, parse_type};
use crate::tool::error::{CliError, Result};
use crate::tool::stream::{Source, Tensor};
use std::path::Path;
use std::sync::Arc;
use training_monitor::checkpoint::ElementType;

/// Changes of the tensors in the file. All of them refer to the names in the file.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Edits {
    /// Ignore the tensors whose names match PATTERN. `*` matches any characters, `?` matches one character.
    #[arg(long, value_name = "PATTERN")]
    pub skip: Vec<String>,
    /// Give the tensor OLD the name NEW
    #[arg(long, value_name = "OLD=NEW", value_parser = parse_rename)]
    pub rename: Vec<(String, String)>,
    /// Convert all tensors to TYPE, for example f32, or only the tensors whose names match PATTERN. Floats are rounded. A
    /// value that TYPE cannot contain is an error.
    #[arg(long, value_name = "[PATTERN=]TYPE", value_parser = parse_cast)]
    pub cast: Vec<Cast>,
}

/// A conversion of the tensors whose names match a pattern.
#[derive(Clone, Debug)]
pub struct Cast {
    pattern: String,
    to: ElementType,
}

fn parse_rename(text: &str) -> std::result::Result<(String, String), String> {
    let (old, new) =
        text.split_once('=').filter(|(old, new)| !old.is_empty() && !new.is_empty()).ok_or("expected OLD=NEW")?;
    Ok((old.to_owned(), new.to_owned()))
}

fn parse_cast(text: &str) -> std::result::Result<Cast, String> {
    let (pattern, name) = text.rsplit_once('=').unwrap_or(("*", text));
    let to = parse_type(name).ok_or_else(|| {
        let names: Vec<&str> = ElementType::ALL.iter().map(|known| known.name()).collect();
        format!("{name:?} is not an element type; the types are {}", names.join(", "))
    })?;
    Ok(Cast { pattern: pattern.to_owned(), to })
}

/// Returns whether a name matches a pattern, in which `*` stands for any characters and `?` for one character.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // The last star, and the number of characters of the name that precede the part which it stands for.
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(expected) if *expected == '?' || *expected == name[n] => {
                p += 1;
                n += 1;
            }
            // The last star stands for one more character.
            _ => match &mut star {
                Some((at, start)) => {
                    *start += 1;
                    (p, n) = (*at + 1, *start);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|rest| *rest == '*')
}

impl Edits {
    pub fn is_empty(&self) -> bool {
        self.skip.is_empty() && self.rename.is_empty() && self.cast.is_empty()
    }

    /// Applies the changes to the tensors of a file.
    pub(super) fn apply(&self, path: &Path, file: TensorFile) -> Result<TensorFile> {
        if self.is_empty() {
            return Ok(file);
        }
        let TensorFile { mut tensors, metadata } = file;
        let patterns = self.skip.iter().map(|pattern| ("--skip", pattern));
        let patterns = patterns.chain(self.cast.iter().map(|cast| ("--cast", &cast.pattern)));
        for (option, pattern) in patterns {
            if !tensors.iter().any(|tensor| matches(pattern, &tensor.name)) {
                return Err(CliError::content(path, format!("{option} {pattern}: no tensor has such a name")));
            }
        }
        if let Some((old, new)) = self.rename.iter().find(|(old, _)| tensors.iter().all(|tensor| tensor.name != *old)) {
            return Err(CliError::content(path, format!("--rename {old}={new}: no tensor has the name {old}")));
        }
        tensors.retain(|tensor| !self.skip.iter().any(|pattern| matches(pattern, &tensor.name)));
        self.cast_tensors(path, &mut tensors)?;
        for tensor in &mut tensors {
            if let Some((_, new)) = self.rename.iter().find(|(old, _)| *old == tensor.name) {
                tensor.name.clone_from(new);
            }
        }
        Ok(TensorFile { tensors, metadata })
    }

    /// Converts tensors to other types. The first option that matches the name of a tensor applies.
    fn cast_tensors(&self, path: &Path, tensors: &mut [Tensor]) -> Result<()> {
        let source = Arc::new(Source::from_bytes(vec![]));
        let mut importer = Importer::new(path, &source);
        let mut places = Vec::new();
        for (place, tensor) in tensors.iter().enumerate() {
            let Some(Cast { to, .. }) = self.cast.iter().find(|cast| matches(&cast.pattern, &tensor.name)) else {
                continue;
            };
            if tensor.element_type != *to {
                cast_tensor(path, &mut importer, tensor, *to)?;
                places.push(place);
            }
        }
        for (place, tensor) in places.into_iter().zip(importer.finish()?) {
            tensors[place] = tensor;
        }
        Ok(())
    }
}

fn cast_tensor(path: &Path, importer: &mut Importer<'_>, tensor: &Tensor, to: ElementType) -> Result<()> {
    let shape: Vec<u64> = tensor.shape.iter().map(|side| u64::from(*side)).collect();
    let layout = Layout::new(path, &tensor.name, to, &shape)?;
    let mut elements = importer.start(to)?;
    tensor.payload.for_each_chunk(|chunk| {
        let mut result = Ok(());
        for_each(tensor.element_type, chunk, |number| {
            if result.is_ok() {
                result = match cast(to, number) {
                    Some(bits) => elements.push_bits(bits),
                    None => {
                        let (name, index) = (&tensor.name, elements.count());
                        let value = match number {
                            Number::Float(value) => format!("{value:?}"),
                            Number::Integer(value) => value.to_string(),
                        };
                        let reason = format!("element {index} of tensor {name} is {value}, which {to} cannot contain");
                        Err(CliError::content(path, reason))
                    }
                };
            }
        });
        result
    })?;
    importer.finish_elements(layout, elements)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name) in
            [("*", ""), ("a", "a"), ("a*", "a.b"), ("*.bias", "fc.1.bias"), ("f?.*", "fc.weight"), ("*a*b*", "xxaybz")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("", "a"), ("a", "ab"), ("a?", "a"), ("*.bias", "bias"), ("*ab", "abc")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        // Without a limit on the steps back, this would take longer than the age of the universe.
        assert!(!matches(&"*a".repeat(60), &"a".repeat(59)));
    }
}
