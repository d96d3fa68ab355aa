//! What the name of a column tells.

use super::Detector;

/// The label that fits a column by its name and its type as `\d` shows it; `None` where neither tells.
#[must_use]
pub fn label_by_name(column: &str, data_type: &str) -> Option<&'static str> {
    let words = words(column);
    let tells = |telling: &str| {
        let telling: Vec<&str> = telling.split('_').collect();
        words.windows(telling.len()).any(|part| part == telling)
    };
    let (_, label, _) = TELLING
        .iter()
        .find(|(names, _, types)| types.fit(data_type) && names.iter().any(|telling| tells(telling)))?;
    Some(label)
}

/// The label of columns whose values a detector finds something in.
#[must_use]
pub fn label_by_value(detector: Detector) -> &'static str {
    match detector {
        Detector::Card => "card",
        Detector::Iban => "bank_account",
        Detector::Ssn => "ssn",
        Detector::Phone => "phone",
        Detector::Email => "email",
        Detector::Jwt | Detector::ApiKey | Detector::PrivateKey => "secret",
    }
}

/// The words of a name, in small letters: those of `home_phone`, `homePhone` and `HomePhone` are the same.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_small = false;
    for letter in name.chars() {
        if !letter.is_alphanumeric() || (letter.is_uppercase() && was_small) {
            words.push(String::new());
        }
        was_small = letter.is_lowercase();
        if let Some(word) = words.last_mut().filter(|_| letter.is_alphanumeric()) {
            word.extend(letter.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The types that a telling name tells something of: `email_verified_at` holds no address.
#[derive(Debug, Clone, Copy)]
enum Types {
    Text,
    TextOrNumber,
    TextOrDate,
}

impl Types {
    fn fit(self, data_type: &str) -> bool {
        let begins = |types: &[&str]| types.iter().any(|known| data_type.starts_with(known));
        let is_date = begins(&["date", "timestamp"]);
        let is_number = begins(&["numeric", "integer", "bigint", "smallint", "double", "real", "money"]);
        let is_neither = is_date || is_number || begins(&["boolean", "interval", "time ", "uuid"]);
        match self {
            Self::Text => !is_neither,
            Self::TextOrNumber => is_number || !is_neither,
            Self::TextOrDate => is_date || !is_neither,
        }
    }
}

/// Words of names, the label that they tell of, and of which types. What comes first holds.
const TELLING: [(&[&str], &str, Types); 10] = [
    (&["ssn", "social_security", "sin", "nin", "national_insurance"], "ssn", Types::TextOrNumber),
    (
        &["iban", "bic", "bank_account", "account_number", "sort_code", "routing_number"],
        "bank_account",
        Types::TextOrNumber,
    ),
    (
        &["card_number", "card_no", "cardnumber", "cc_number", "creditcard", "credit_card", "pan"],
        "card",
        Types::TextOrNumber,
    ),
    (&["cvv", "cvc", "cvv2", "pin"], "secret", Types::TextOrNumber),
    (
        &[
            "password",
            "passwd",
            "pwd",
            "passphrase",
            "secret",
            "token",
            "api_key",
            "apikey",
            "private_key",
            "credential",
        ],
        "secret",
        Types::Text,
    ),
    (&["email", "e_mail", "mail"], "email", Types::Text),
    (&["phone", "telephone", "mobile", "cellphone", "fax", "msisdn"], "phone", Types::TextOrNumber),
    (&["salary", "wage", "income", "compensation", "payroll"], "salary", Types::TextOrNumber),
    (&["birth", "dob", "birthday", "birthdate", "born"], "birth", Types::TextOrDate),
    (
        &[
            "passport",
            "tax_id",
            "taxid",
            "vat_id",
            "national_id",
            "driver_license",
            "licence_number",
            "license_number",
        ],
        "national_id",
        Types::TextOrNumber,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_by_its_words_and_its_type() {
        for (column, data_type, label) in [
            ("ssn", "text", Some("ssn")),
            ("home_phone", "character varying(20)", Some("phone")),
            ("homePhone", "text", Some("phone")),
            ("Social-Security No", "text", Some("ssn")),
            ("salary", "numeric(10,2)", Some("salary")),
            ("date_of_birth", "date", Some("birth")),
            ("apiKey", "text", Some("secret")),
            ("reset_token", "text", Some("secret")),
            ("card_number", "bigint", Some("card")),
            ("email_verified", "boolean", None),
            ("email_sent_at", "timestamp with time zone", None),
            ("pin_count", "interval", None),
            ("emails_sent", "integer", None),
            ("company", "text", None),
            ("classname", "text", None),
            ("", "text", None),
        ] {
            assert_eq!(label_by_name(column, data_type), label, "{column} {data_type}");
        }
    }
}
