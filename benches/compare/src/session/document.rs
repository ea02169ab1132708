//! What a session of a shop holds: seven small fields and a cart of fourteen lines, about 840 bytes as JSON.

use serde_json::{Value, json};

/// The field that a request reads or counts up.
pub(super) const READ: &str = "views";

/// Names and values.
pub(super) fn fields() -> Vec<(&'static str, Value)> {
    let cart: Vec<Value> = (0..14)
        .map(|line| json!({ "sku": format!("A-{}-XXL-DARK", 1000 + line), "n": line % 3 + 1, "cents": 11_299 + line }))
        .collect();
    vec![
        ("user", json!(4_211_337)),
        ("locale", json!("mi-NZ")),
        ("currency", json!("NZD")),
        ("theme", json!("dark")),
        (
            "campaign",
            json!("spring-newsletter-2-reminder-for-members"),
        ),
        ("last_seen", json!(["A-1003", "A-1007", "A-1011"])),
        (READ, json!(1)),
        ("cart", Value::Array(cart)),
    ]
}

/// How long they are as one JSON object.
pub(super) fn json_len() -> usize {
    let object: serde_json::Map<_, _> = fields()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    Value::Object(object).to_string().len()
}
