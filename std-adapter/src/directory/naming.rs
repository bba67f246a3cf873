//! Which names in a directory belong to one prefix and extension.
//!
//! A file under its final name has Ignite's name ([`FileName`]). While it is being written it is called
//! `.{final}.{n}.tmp`, and the mark of a set that is being removed `.{final}.{n}.gone`, where n is the length of the
//! prefix: `a_b_model_1.ckpt` may be of prefix `a` or of `a_b`, so a torn temp file could not be told apart otherwise.
//! A final name is no proof either; there the stream says what the object is called ([`Naming::is_final_of`]).

use crate::checksum::Crc32Fast;
use training_monitor::checkpoint::{DecodeError, Header, Info, Inspect, inspect_with};
use super::file_name::FileName;

/// Prefix and extension.
#[derive(Clone, Debug)]
pub(super) struct Naming {
    pub prefix: String,
    pub extension: String,
}

/// What the name of a directory entry says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Kind {
    Final,
    Temp,
    Gone,
}

impl Naming {
    /// The final name of an object's file.
    pub fn name(&self, object: &str, header: &Header<'_>) -> String {
        let score = header.score_name.zip(header.score);
        let Naming { prefix, extension } = self;
        FileName { prefix, object, step: header.step, score, extension }.to_string()
    }

    /// Its name while it is written.
    pub fn temp(&self, name: &str) -> String {
        format!(".{name}.{}.tmp", self.prefix.len())
    }

    /// Its name while its set is removed.
    pub fn gone(&self, name: &str) -> String {
        format!(".{name}.{}.gone", self.prefix.len())
    }

    /// What an entry may be, and the final name that goes with it.
    pub fn classify<'a>(&self, entry: &'a str) -> Option<(Kind, &'a str)> {
        let hidden = |kind: &str| {
            let rest = entry.strip_prefix('.')?.strip_suffix(kind)?;
            let (name, len) = rest.rsplit_once('.')?;
            (len.parse() == Ok(self.prefix.len()) && self.fits(name)).then_some(name)
        };
        if let Some(name) = hidden(".tmp") {
            Some((Kind::Temp, name))
        } else if let Some(name) = hidden(".gone") {
            Some((Kind::Gone, name))
        } else {
            self.fits(entry).then_some((Kind::Final, entry))
        }
    }

    fn fits(&self, name: &str) -> bool {
        let ends = name.strip_suffix(&self.extension).is_some_and(|name| name.ends_with('.'));
        let begins =
            self.prefix.is_empty() || name.strip_prefix(&self.prefix).is_some_and(|name| name.starts_with('_'));
        ends && begins
    }

    /// The number, in its set, of the object that is in the file called `name`; `None` when no object of the set would
    /// be called that.
    pub fn is_final_of(&self, name: &str, contents: &Seen) -> Option<usize> {
        let info = &contents.info;
        let header = Header {
            step: info.step,
            sequence: info.sequence,
            iteration: info.iteration,
            score: info.score,
            score_name: contents.score_name.as_deref(),
        };
        contents.objects.iter().position(|object| self.name(object, &header) == name)
    }
}

/// What a whole and undamaged stream says of itself.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub info: Info,
    pub score_name: Option<String>,
    /// All objects of the set.
    pub objects: Vec<String>,
}

#[derive(Default)]
struct Names {
    score: Option<String>,
    objects: Vec<String>,
}

impl Inspect for Names {
    fn score_name(&mut self, name: &str) {
        self.score = Some(name.to_owned());
    }
    fn object_name(&mut self, name: &str) {
        self.objects.push(name.to_owned());
    }
}

/// Reads a stream to its end and checks all of it.
pub(super) fn look<R: training_monitor::embedded_io::Read>(
    reader: &mut R,
    scratch: &mut [u8],
) -> Result<Seen, DecodeError<R::Error>> {
    let mut names = Names::default();
    let info = inspect_with::<Crc32Fast, _, _>(reader, scratch, &mut names)?;
    Ok(Seen { info, score_name: names.score, objects: names.objects })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_that_begin_alike() {
        let short = Naming { prefix: "a".into(), extension: "ckpt".into() };
        let long = Naming { prefix: "a_b".into(), extension: "ckpt".into() };
        let temp = long.temp("a_b_model_1.ckpt");
        assert_eq!(long.classify(&temp), Some((Kind::Temp, "a_b_model_1.ckpt")));
        assert_eq!(short.classify(&temp), None);
        assert_eq!(short.classify(".a_b_model_1.ckpt.1.gone"), Some((Kind::Gone, "a_b_model_1.ckpt")));
        // Only what is in the file can tell here.
        assert_eq!(short.classify("a_b_model_1.ckpt"), Some((Kind::Final, "a_b_model_1.ckpt")));
        for foreign in ["ab_model_1.ckpt", "a", "a_", "a_m_1.pth", "a_m_1.ckpt.bak", "a_m_1ckpt", ".a_m_1.ckpt.tmp"] {
            assert_eq!(short.classify(foreign), None, "{foreign}");
        }
    }
}
