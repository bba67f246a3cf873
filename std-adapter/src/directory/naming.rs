//! The file names of one checkpoint series, that is of one prefix and one extension.

use super::file_name::FileName;
use super::summary::StreamSummary;
use training_monitor::checkpoint::Header;

/// The prefix and the extension of one checkpoint series. Both determine the names of its files.
///
/// A committed file has its final name, which [`FileName`] forms. While the directory writes a file, the file has the
/// temporary name `.{final}.{n}.tmp`. While the directory removes a checkpoint of several files, one of them has the
/// tombstone name `.{final}.{n}.deleted`. The number n is the length of the prefix in bytes. Without n, a damaged
/// temporary file of `a_b_model_1.ckpt` could belong to the prefix `a` or to the prefix `a_b`.
///
/// A final name alone does not prove that a file belongs to the series either. The stream in the file names its object,
/// so recovery compares the name with the content.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Naming {
    /// The filename prefix; empty for a series without a prefix.
    pub prefix: String,
    /// The file extension without the dot.
    pub extension: String,
}

/// The role of a file, as its name states it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum NameKind {
    /// The file has the name of a committed file.
    Final,
    /// The file belongs to a save that is not committed, or whose commit was interrupted.
    Temporary,
    /// The file marks a checkpoint of several files whose removal began.
    Tombstone,
}

impl Naming {
    /// Suffix of temporary names.
    const TEMPORARY: &'static str = "tmp";
    /// Suffix of tombstone names.
    const TOMBSTONE: &'static str = "deleted";

    /// The series that the file with the final name `file_name` belongs to, if its content has this `header` and the
    /// file stores `object`. Returns `None` if no series gives such a file this name.
    ///
    /// ```
    /// use training_monitor::checkpoint::Header;
    /// use training_monitor_std::directory::Naming;
    ///
    /// let header = Header { step: 4, sequence: 1, iteration: 40, score: None, score_name: None };
    /// let naming = Naming::infer("my_run_net_4.ckpt", "net", &header).unwrap();
    /// assert_eq!((naming.prefix.as_str(), naming.extension.as_str()), ("my_run", "ckpt"));
    /// assert_eq!(Naming::infer("copy of net_4.ckpt", "net", &header), None);
    /// ```
    #[must_use]
    pub fn infer(file_name: &str, object: &str, header: &Header<'_>) -> Option<Naming> {
        let (_, extension) = file_name.rsplit_once('.')?;
        let score = header.score_name.zip(header.score);
        let suffix = FileName { prefix: "", object, step: header.step, score, extension }.to_string();
        let prefix = match file_name.strip_suffix(&suffix)? {
            "" => "",
            rest => rest.strip_suffix('_')?,
        };
        Some(Naming { prefix: prefix.to_owned(), extension: extension.to_owned() })
    }

    /// Whether `extension` is a valid extension of final names. The suffixes of temporary and tombstone names are not
    /// valid.
    pub(super) fn is_valid_extension(extension: &str) -> bool {
        let is_reserved = [Self::TEMPORARY, Self::TOMBSTONE].contains(&extension);
        !extension.is_empty() && !is_reserved && !extension.contains(['.', '/', '\\', '\0'])
    }

    /// The final name of the file that stores `object`.
    #[must_use]
    pub fn final_name(&self, object: &str, header: &Header<'_>) -> String {
        let score = header.score_name.zip(header.score);
        let Naming { prefix, extension } = self;
        FileName { prefix, object, step: header.step, score, extension }.to_string()
    }

    /// The temporary name of the file with the final name `final_name`.
    #[must_use]
    pub fn temporary_name(&self, final_name: &str) -> String {
        self.hidden_name(final_name, Self::TEMPORARY)
    }

    /// The tombstone name of the file with the final name `final_name`.
    #[must_use]
    pub fn tombstone_name(&self, final_name: &str) -> String {
        self.hidden_name(final_name, Self::TOMBSTONE)
    }

    fn hidden_name(&self, final_name: &str, suffix: &str) -> String {
        format!(".{final_name}.{}.{suffix}", self.prefix.len())
    }

    /// The role and the final name of the file called `file_name`. Returns `None` if the series has no such names.
    #[must_use]
    pub fn classify<'a>(&self, file_name: &'a str) -> Option<(NameKind, &'a str)> {
        let hidden = |suffix: &str| {
            let rest = file_name.strip_prefix('.')?.strip_suffix(suffix)?.strip_suffix('.')?;
            let (final_name, len) = rest.rsplit_once('.')?;
            (len.parse() == Ok(self.prefix.len()) && self.matches(final_name)).then_some(final_name)
        };
        if let Some(final_name) = hidden(Self::TEMPORARY) {
            Some((NameKind::Temporary, final_name))
        } else if let Some(final_name) = hidden(Self::TOMBSTONE) {
            Some((NameKind::Tombstone, final_name))
        } else {
            self.matches(file_name).then_some((NameKind::Final, file_name))
        }
    }

    /// Whether `name` begins with the prefix and ends with the extension.
    fn matches(&self, name: &str) -> bool {
        let has_extension = name.strip_suffix(&self.extension).is_some_and(|name| name.ends_with('.'));
        let has_prefix =
            self.prefix.is_empty() || name.strip_prefix(&self.prefix).is_some_and(|name| name.starts_with('_'));
        has_extension && has_prefix
    }

    /// The index of the object that the file with the final name `final_name` stores, in the list of objects in
    /// `summary`. Returns `None` if the name does not fit the content.
    pub(super) fn object_index(&self, final_name: &str, summary: &StreamSummary) -> Option<usize> {
        let header = summary.header();
        summary.objects.iter().position(|object| self.final_name(object, &header) == final_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_length_separates_series_whose_prefixes_begin_alike() {
        let short = Naming { prefix: "a".into(), extension: "ckpt".into() };
        let long = Naming { prefix: "a_b".into(), extension: "ckpt".into() };
        let temporary = long.temporary_name("a_b_model_1.ckpt");
        assert_eq!(long.classify(&temporary), Some((NameKind::Temporary, "a_b_model_1.ckpt")));
        assert_eq!(short.classify(&temporary), None);
        let tombstone = ".a_b_model_1.ckpt.1.deleted";
        assert_eq!(short.classify(tombstone), Some((NameKind::Tombstone, "a_b_model_1.ckpt")));
        assert_eq!(short.tombstone_name("a_b_model_1.ckpt"), tombstone);
        // A final name fits both series; only the content of the file decides between them.
        assert_eq!(short.classify("a_b_model_1.ckpt"), Some((NameKind::Final, "a_b_model_1.ckpt")));
        for foreign in ["ab_model_1.ckpt", "a", "a_", "a_m_1.pth", "a_m_1.ckpt.bak", "a_m_1ckpt", ".a_m_1.ckpt.tmp"] {
            assert_eq!(short.classify(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn naming_is_inferred_from_name_and_content() {
        let header = Header { step: 1, sequence: 1, iteration: 1, score: Some(-0.5), score_name: Some("loss") };
        let infer = |name| Naming::infer(name, "m", &header).map(|naming| (naming.prefix, naming.extension));
        assert_eq!(infer("m_1_loss=0.5.bin"), Some((String::new(), "bin".into())));
        assert_eq!(infer("a_b_m_1_loss=0.5.ckpt"), Some(("a_b".into(), "ckpt".into())));
        for other in ["am_1_loss=0.5.ckpt", "a_m_1.ckpt", "a_m_2_loss=0.5.ckpt", "m"] {
            assert_eq!(infer(other), None, "{other}");
        }
    }
}
