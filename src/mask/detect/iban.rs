//! International bank account numbers (ISO 13616).

use super::unit::{Ahead, More, is_end};

/// Where an account number that begins here ends.
pub(super) fn iban(mut ahead: Ahead<'_>) -> Result<Option<usize>, More> {
    if !begins(ahead)? {
        return Ok(None);
    }
    let mut characters = [0_u8; LONGEST];
    let mut wanted = 4;
    let mut count = 0;
    while count < wanted {
        let Some(class) = ahead.next()?.map(|class| class.to_ascii_uppercase()) else { return Ok(None) };
        let fits = match count {
            0 | 1 => class.is_ascii_uppercase(),
            2 | 3 => class.is_ascii_digit(),
            _ => class.is_ascii_uppercase() || class.is_ascii_digit(),
        };
        match characters.get_mut(count) {
            Some(place) if fits => *place = class,
            // Groups of four.
            _ if matches!(class, b' ' | b'-')
                && count >= 4
                && count.is_multiple_of(4)
                && !ahead.peek_is_joint()? =>
            {
                continue;
            }
            _ => return Ok(None),
        }
        count += 1;
        if count == 2 {
            let Some(length) = length(characters[0], characters[1]) else { return Ok(None) };
            wanted = length;
        }
    }
    let whole = characters.get(..wanted).unwrap_or_default();
    let is_iban = remainder(whole) == 1 && is_end(ahead.peek()?);
    Ok(is_iban.then_some(ahead.at()))
}

/// Whether two letters and two digits come next, as in few words.
fn begins(mut ahead: Ahead<'_>) -> Result<bool, More> {
    for is_digit in [false, false, true, true] {
        let fits = |class: u8| if is_digit { class.is_ascii_digit() } else { class.is_ascii_alphabetic() };
        if !ahead.next()?.is_some_and(fits) {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Ahead<'_> {
    fn peek_is_joint(self) -> Result<bool, More> {
        Ok(matches!(self.peek()?, Some(b' ' | b'-')))
    }
}

/// Modulo 97 of the number that it is with its first four characters at the end and letters as 10 to 35.
fn remainder(characters: &[u8]) -> u32 {
    let (head, tail) = characters.split_at_checked(4).unwrap_or_default();
    tail.iter().chain(head).fold(0, |remainder, class| match class {
        b'0'..=b'9' => (remainder * 10 + u32::from(class - b'0')) % 97,
        _ => (remainder * 100 + u32::from(class - b'A') + 10) % 97,
    })
}

/// How long account numbers of a country are.
fn length(first: u8, second: u8) -> Option<usize> {
    let country = [first, second];
    LENGTHS
        .iter()
        .find(|(countries, _)| countries.chunks(2).any(|known| known == country))
        .map(|(_, length)| *length)
}

/// Countries by the length of their account numbers.
const LENGTHS: [(&[u8], usize); 20] = [
    (b"NO", 15),
    (b"BE", 16),
    (b"DKFKFIFOGLNLSD", 18),
    (b"MKSI", 19),
    (b"ATBAEEKZLTLUMNXK", 20),
    (b"CHCRHRLILV", 21),
    (b"BGBHDEGBGEIEMERSVA", 22),
    (b"AEGIILIQOMTLSO", 23),
    (b"ADCZESMDPKROSASESKTNVG", 24),
    (b"LYPTST", 25),
    (b"ISTR", 26),
    (b"DJFRGRITMCMRSM", 27),
    (b"ALAZBYCYDOGTHUHNLBNIPLSV", 28),
    (b"BRPSQAUA", 29),
    (b"JOKWMUYE", 30),
    (b"MTSC", 31),
    (b"LC", 32),
    (b"RU", 33),
    (b"BI", 27),
    (b"EG", 29),
];

/// The longest there is.
const LONGEST: usize = 34;
