//! The rules for the names of the checkpoint files with one prefix and one extension.

use super::file_name::FileName;
use super::summary::StreamSummary;
use training_monitor::checkpoint::Header;

/// The maximum length of a file name in bytes, on all common file systems.
pub(super) const MAX_FILE_NAME: usize = 255;

/// The number of variants of a name. Each file that has a variant without belonging to a listed checkpoint needs one.
const MAX_VARIANTS: usize = 4;

/// The prefix and the extension of the checkpoint files of one directory. Both determine the names of the files.
///
/// A committed file has its final name, which [`FileName`] defines. If a file that must not be replaced has this name,
/// the new file has a variant of the name: `~` and the sequence number of the checkpoint precede the extension. If the
/// variant is taken, too, for example by a damaged file, the name gets another `~`. While a file is being written, it has the temporary name `.{final}.{n}.tmp`. While a checkpoint of several files is being
/// removed, one of them has the tombstone name `.{final}.{n}.deleted`. The number n is the length of the prefix in
/// bytes. Without n, a damaged temporary file of `a_b_model_1.ckpt` could belong to the prefix `a` or to the prefix
/// `a_b`.
///
/// The lock file has the name `.{prefix}.lock`, or `.lock` if the prefix is empty.
///
/// A final name alone does not prove that a file belongs to the series either. The file also contains the name of its
/// object, so recovery compares the file name with the content.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Naming {
    /// The filename prefix; empty for files without a prefix.
    pub prefix: String,
    /// The file extension without the dot.
    pub extension: String,
}

/// The role of a checkpoint file. Its name shows whether the file is committed, being written or being removed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum NameKind {
    /// The normal name of a checkpoint file, which the file has after the commit.
    Final,
    /// The name of a file while it is being written. Such a file belongs to a save that is unfinished or was
    /// interrupted.
    Temporary,
    /// The name of a file that marks an unfinished removal of a checkpoint of several files.
    Tombstone,
}

impl Naming {
    /// The name that takes the place of the name of an object if a file stores all objects of a checkpoint. Ignite's later
    /// versions use the same name.
    pub const ALL_OBJECTS: &'static str = "checkpoint";
    /// The suffix of temporary names. A file has a temporary name while it is being written.
    const TEMPORARY: &'static str = "tmp";
    /// The suffix of tombstone names. A tombstone is a file that marks an unfinished removal.
    const TOMBSTONE: &'static str = "deleted";
    /// The suffix of the name of the lock file.
    const LOCK: &'static str = "lock";

    /// Splits the file name `file_name` of a checkpoint into its parts, and returns the prefix and the extension. The
    /// other parts are known from the content of the file: the step or the score in its `header`, and the name `object`
    /// of its object. Returns `None` if the file name does not contain these other parts.
    ///
    /// ```
    /// use training_monitor::checkpoint::Header;
    /// use training_monitor_std::directory::Naming;
    ///
    /// let header = Header { step: 4, sequence: 17, ..Header::default() };
    /// for name in ["my_run_net_4.ckpt", "my_run_net_4~17.ckpt"] {
    ///     let naming = Naming::infer(name, "net", &header).unwrap();
    ///     assert_eq!((naming.prefix.as_str(), naming.extension.as_str()), ("my_run", "ckpt"));
    /// }
    /// assert_eq!(Naming::infer("copy of net_4.ckpt", "net", &header), None);
    /// ```
    #[must_use]
    pub fn infer(file_name: &str, object: &str, header: &Header<'_>) -> Option<Naming> {
        let (stem, extension) = file_name.rsplit_once('.')?;
        let stem = strip_variant_mark(stem, header);
        let score = header.score_name.zip(header.score);
        let suffix = FileName { prefix: "", object, step: header.step, score, extension }.to_string();
        let name = format!("{stem}.{extension}");
        let prefix = match name.strip_suffix(&suffix)? {
            "" => "",
            rest => rest.strip_suffix('_')?,
        };
        Some(Naming { prefix: prefix.to_owned(), extension: extension.to_owned() })
    }

    /// Returns whether checkpoint files may have this extension. The extensions `tmp`, `deleted` and `lock` are
    /// reserved for temporary files, tombstones and lock files.
    pub(super) fn is_valid_extension(extension: &str) -> bool {
        let is_reserved = [Self::TEMPORARY, Self::TOMBSTONE, Self::LOCK].contains(&extension);
        !extension.is_empty() && !is_reserved && !extension.contains(['.', '/', '\\', '\0'])
    }

    /// Returns the name of the checkpoint file that stores the object called `object`.
    #[must_use]
    pub fn final_name(&self, object: &str, header: &Header<'_>) -> String {
        let score = header.score_name.zip(header.score);
        let Naming { prefix, extension } = self;
        FileName { prefix, object, step: header.step, score, extension }.to_string()
    }

    /// Returns the variant of the final name. A new file gets this name if a file that must not be replaced has the
    /// final name.
    #[must_use]
    pub fn variant_name(&self, object: &str, header: &Header<'_>) -> String {
        self.variant_names(object, header).next().unwrap_or_default()
    }

    /// Returns all variants of the final name, in the order in which a new file tries them.
    pub(super) fn variant_names(&self, object: &str, header: &Header<'_>) -> impl Iterator<Item = String> {
        let name = self.final_name(object, header);
        let (extension, sequence) = (self.extension.clone(), header.sequence);
        (1..=MAX_VARIANTS).map(move |count| {
            let stem = name.strip_suffix(&extension).and_then(|stem| stem.strip_suffix('.')).unwrap_or(&name);
            format!("{stem}{}{sequence}.{extension}", "~".repeat(count))
        })
    }

    /// Returns the name of the lock file, which shows that a program writes files with this prefix.
    #[must_use]
    pub fn lock_name(&self) -> String {
        if self.prefix.is_empty() { format!(".{}", Self::LOCK) } else { format!(".{}.{}", self.prefix, Self::LOCK) }
    }

    /// Returns whether a file called `name` can be a lock file, with any prefix.
    pub(super) fn is_lock_name(name: &str) -> bool {
        name.strip_prefix('.')
            .and_then(|name| name.strip_suffix(Self::LOCK))
            .is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('.'))
    }

    /// Returns the length in bytes of the longest name that a file of the checkpoint can get. `object` is the object in
    /// the file.
    pub(super) fn max_name_len(&self, object: &str, header: &Header<'_>) -> usize {
        self.tombstone_name(&self.variant_name(object, header)).len()
    }

    /// Returns the length in bytes of the longest name that the store needs in any case: the name of an object with one
    /// letter, at the highest step number.
    pub(super) fn min_required_len(&self) -> usize {
        let header = Header { step: u32::MAX, sequence: u32::MAX, ..Header::default() };
        self.max_name_len("x", &header).max(self.lock_name().len())
    }

    /// Returns the temporary name that a checkpoint file has while it is being written. `final_name` is the name of the
    /// file after the commit.
    #[must_use]
    pub fn temporary_name(&self, final_name: &str) -> String {
        self.hidden_name(final_name, Self::TEMPORARY)
    }

    /// Returns the tombstone name, which marks a checkpoint as being removed. `final_name` is the previous name of the
    /// file.
    #[must_use]
    pub fn tombstone_name(&self, final_name: &str) -> String {
        self.hidden_name(final_name, Self::TOMBSTONE)
    }

    fn hidden_name(&self, final_name: &str, suffix: &str) -> String {
        format!(".{final_name}.{}.{suffix}", self.prefix.len())
    }

    /// Returns the role of the file called `file_name`, and its final name (the name after the commit). Returns `None`
    /// if `file_name` does not fit this prefix and extension.
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

    /// Returns whether `name` begins with the prefix and ends with the extension.
    fn matches(&self, name: &str) -> bool {
        let has_extension = name.strip_suffix(&self.extension).is_some_and(|name| name.ends_with('.'));
        let has_prefix =
            self.prefix.is_empty() || name.strip_prefix(&self.prefix).is_some_and(|name| name.starts_with('_'));
        has_extension && has_prefix
    }

    /// Finds the object that the file called `final_name` stores. Returns the index of the object in `summary.objects`,
    /// or `None` if the file name fits none of these objects.
    pub(super) fn object_index(&self, final_name: &str, summary: &StreamSummary) -> Option<usize> {
        let header = summary.header();
        summary.objects.iter().position(|object| {
            self.final_name(object, &header) == final_name
                || self.variant_names(object, &header).any(|name| name == final_name)
        })
    }
}

/// Removes the mark of a variant from a name without its extension.
fn strip_variant_mark<'a>(stem: &'a str, header: &Header<'_>) -> &'a str {
    match stem.strip_suffix(&header.sequence.to_string()) {
        Some(rest) if rest.ends_with('~') => rest.trim_end_matches('~'),
        _ => stem,
    }
}

/// Returns the part of a final name after the name of the object: the step number and the score. All files of a
/// checkpoint have the same part. Returns the whole name if it contains no step number.
pub(super) fn step_part<'a>(final_name: &'a str, extension: &str) -> &'a str {
    let stem = final_name.strip_suffix(extension).and_then(|stem| stem.strip_suffix('.')).unwrap_or(final_name);
    let stem = match stem.rsplit_once('~') {
        Some((rest, sequence)) if is_number(sequence) => rest.trim_end_matches('~'),
        _ => stem,
    };
    let mut starts = stem.rmatch_indices('_').filter_map(|(index, _)| stem.get(index + 1..));
    let is_step_part = |part: &&str| match part.split_once('_') {
        Some((step, score)) => is_number(step) && score.contains('='),
        None => is_number(part),
    };
    starts.find(is_step_part).unwrap_or(stem)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
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
        // A final name (the name after the commit) can fit both prefixes `a` and `a_b`. Only the content of the file
        // shows the right prefix.
        assert_eq!(short.classify("a_b_model_1.ckpt"), Some((NameKind::Final, "a_b_model_1.ckpt")));
        for foreign in ["ab_model_1.ckpt", "a", "a_", "a_m_1.pth", "a_m_1.ckpt.bak", "a_m_1ckpt", ".a_m_1.ckpt.tmp"] {
            assert_eq!(short.classify(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn naming_is_inferred_from_name_and_content() {
        let header = Header { step: 1, sequence: 1, score: Some(-0.5), score_name: Some("loss"), ..Header::default() };
        let infer = |name| Naming::infer(name, "m", &header).map(|naming| (naming.prefix, naming.extension));
        assert_eq!(infer("m_1_loss=0.5.bin"), Some((String::new(), "bin".into())));
        assert_eq!(infer("a_b_m_1_loss=0.5.ckpt"), Some(("a_b".into(), "ckpt".into())));
        assert_eq!(infer("a_b_m_1_loss=0.5~1.ckpt"), Some(("a_b".into(), "ckpt".into())));
        assert_eq!(infer("a_b_m_1_loss=0.5~~1.ckpt"), Some(("a_b".into(), "ckpt".into())));
        for other in ["m_1_loss=0.5~2.ckpt", "am_1_loss=0.5.ckpt", "a_m_1.ckpt", "a_m_2_loss=0.5.ckpt", "m"] {
            assert_eq!(infer(other), None, "{other}");
        }
    }

    #[test]
    fn variant_contains_the_sequence_number() {
        let naming = Naming { prefix: "p".into(), extension: "ckpt".into() };
        let header = Header { step: 5, sequence: 17, ..Header::default() };
        assert_eq!(naming.variant_name("model", &header), "p_model_5~17.ckpt");
        let score = Header { score: Some(0.5), score_name: Some("acc"), ..header };
        assert_eq!(naming.variant_name("model", &score), "p_model_5_acc=0.5~17.ckpt");
        assert_eq!(naming.classify("p_model_5~17.ckpt"), Some((NameKind::Final, "p_model_5~17.ckpt")));
    }

    #[test]
    fn lock_names_are_no_checkpoint_names() {
        for (prefix, lock) in [("", ".lock"), ("p", ".p.lock"), ("a.b", ".a.b.lock"), (".", "...lock")] {
            let naming = Naming { prefix: prefix.into(), extension: "ckpt".into() };
            assert_eq!(naming.lock_name(), lock);
            assert!(Naming::is_lock_name(lock) && naming.classify(lock).is_none());
        }
        for other in ["lock", ".clock", "p.lock", ".lock.ckpt"] {
            assert!(!Naming::is_lock_name(other), "{other}");
        }
        assert!(!Naming::is_valid_extension("lock"));
    }

    #[test]
    fn step_part_of_a_name() {
        for (name, part) in [
            ("p_model_5.ckpt", "5"),
            ("p_m_1_5~17.ckpt", "5"),
            ("p_m_1_5~~17.ckpt", "5"),
            ("m_5_val_loss=0.25.ckpt", "5_val_loss=0.25"),
            ("m_5_s=1e-05~3.ckpt", "5_s=1e-05"),
            ("p_notes.ckpt", "p_notes"),
        ] {
            assert_eq!(step_part(name, "ckpt"), part, "{name}");
        }
    }
}
