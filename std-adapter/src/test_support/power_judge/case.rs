//! A test case of the judge, and its form as one line of text.

use core::fmt;
use core::str::FromStr;
use training_monitor::checkpoint::RankingRule;

/// A save in a [`PowerFailureCase`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JudgedSave {
    /// The step number of the checkpoint.
    pub step: u32,
    /// The score of the checkpoint. A ranking by age ignores it.
    pub score: u8,
}

/// A power failure in a [`PowerFailureCase`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JudgedFailure {
    /// The number of operations that succeed before the interrupted one. For the second failure, this number counts
    /// from the restart after the first one. If a run after the restart has fewer operations, the second failure does
    /// not happen.
    pub after: u64,
    /// The seed that the judge passes to [`PowerMedium::cut_power_at`](crate::test_support::PowerMedium::cut_power_at).
    pub seed: u64,
}

/// A sequence of saves and power failures. Its text form can be parsed, so a test can run a failed case again:
///
/// ```
/// use training_monitor_std::test_support::PowerFailureCase;
///
/// let line = "rank=best n_saved=2 saves=1:5,2:9,1:7 failures=17:3,4:0";
/// assert_eq!(line.parse::<PowerFailureCase>().unwrap().to_string(), line);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PowerFailureCase {
    /// How the checkpoints are ranked.
    pub rule: RankingRule,
    /// The number of kept checkpoints, from 1 to 3.
    pub n_saved: u32,
    /// The saves, in order. A save that was interrupted is repeated.
    pub saves: Vec<JudgedSave>,
    /// The power failures, in order.
    pub failures: Vec<JudgedFailure>,
}

impl fmt::Display for PowerFailureCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rank = if self.rule == RankingRule::Best { "best" } else { "latest" };
        write!(f, "rank={rank} n_saved={} saves=", self.n_saved)?;
        for (index, JudgedSave { step, score }) in self.saves.iter().enumerate() {
            write!(f, "{}{step}:{score}", if index > 0 { "," } else { "" })?;
        }
        f.write_str(" failures=")?;
        for (index, JudgedFailure { after, seed }) in self.failures.iter().enumerate() {
            write!(f, "{}{after}:{seed}", if index > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

impl FromStr for PowerFailureCase {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let field = |name: &str| {
            let mut fields = line.split_whitespace().filter_map(|field| field.split_once('='));
            let value = fields.find(|(key, _)| *key == name).map(|(_, value)| value);
            value.ok_or_else(|| format!("the field {name}= is missing"))
        };
        fn number<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
            text.parse().map_err(|error| format!("{text:?} is not a number: {error}"))
        }
        fn pairs(list: &str) -> impl Iterator<Item = Result<(&str, &str), String>> {
            let items = list.split(',').filter(|item| !item.is_empty());
            items.map(|item| item.split_once(':').ok_or_else(|| format!("{item:?}: expected two numbers, as in 3:1")))
        }
        let rule = match field("rank")? {
            "best" => RankingRule::Best,
            "latest" => RankingRule::Latest,
            other => return Err(format!("rank={other}: expected best or latest")),
        };
        let n_saved = number(field("n_saved")?)?;
        if !(1..=3).contains(&n_saved) {
            return Err(format!("n_saved={n_saved}: expected 1, 2 or 3"));
        }
        let save = |pair: Result<(&str, &str), String>| {
            let (step, score) = pair?;
            Ok(JudgedSave { step: number(step)?, score: number(score)? })
        };
        let failure = |pair: Result<(&str, &str), String>| {
            let (after, seed) = pair?;
            Ok(JudgedFailure { after: number(after)?, seed: number(seed)? })
        };
        let saves = pairs(field("saves")?).map(save).collect::<Result<_, String>>()?;
        let failures = pairs(field("failures")?).map(failure).collect::<Result<_, String>>()?;
        Ok(PowerFailureCase { rule, n_saved, saves, failures })
    }
}
