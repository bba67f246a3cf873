//! A model of Python's `"{:.7}".format(abs(score))` that rounds the exact decimal digits of the number.

/// Returns the text of a score.
pub fn score_text(score: f32) -> String {
    let value = f64::from(score).abs();
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return "inf".into();
    }
    if value == 0.0 {
        return "0.0".into();
    }
    // An f32 has at most 149 digits after the decimal point, so these digits are exact.
    let exact = format!("{value:.150}");
    let point = exact.find('.').expect("digits after a point");
    let digits: Vec<u8> = exact.bytes().filter(u8::is_ascii_digit).map(|digit| digit - b'0').collect();
    let first = digits.iter().position(|digit| *digit != 0).expect("not zero");
    let mut exponent = point as i32 - 1 - first as i32;
    let mut kept: Vec<u8> = digits[first..].iter().copied().chain([0; 8]).take(7).collect();
    let rest = digits.get(first + 7..).unwrap_or_default();
    let is_half_or_more = rest.first().is_some_and(|digit| *digit >= 5);
    let is_tie = is_half_or_more && rest[0] == 5 && rest[1..].iter().all(|digit| *digit == 0);
    if is_half_or_more && !(is_tie && kept[6].is_multiple_of(2)) {
        let nines = kept.iter().rev().take_while(|digit| **digit == 9).count();
        let last = 7 - nines;
        kept[last..].fill(0);
        match last.checked_sub(1) {
            Some(index) => kept[index] += 1,
            None => {
                kept[0] = 1;
                exponent += 1;
            }
        }
    }
    while kept.len() > 1 && kept.last() == Some(&0) {
        kept.pop();
    }
    let digit = |index: i32| usize::try_from(index).ok().and_then(|index| kept.get(index)).copied().unwrap_or(0);
    let text = |range: std::ops::Range<i32>| range.map(|index| char::from(b'0' + digit(index))).collect::<String>();
    let len = kept.len() as i32;
    if !(-4..6).contains(&exponent) {
        let fraction = if len > 1 { format!(".{}", text(1..len)) } else { String::new() };
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}{fraction}e{sign}{:02}", text(0..1), exponent.abs());
    }
    let whole = if exponent < 0 { "0".into() } else { text(0..exponent + 1) };
    format!("{whole}.{}", text(exponent + 1..len.max(exponent + 2)))
}
