//! A reader of JSON, as much as `strata check -o json` needs: this crate has no
//! other dependency than `anyhow`, so that `cargo xtask` builds in seconds on a
//! machine that has nothing yet.

/// A JSON value; numbers stay text, since nobody here computes with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// `null`, `true`, `false` or a number, as written.
    Plain(String),
    /// A string, unescaped.
    Text(String),
    /// An array.
    Array(Vec<Value>),
    /// An object, in its order.
    Object(Vec<(String, Value)>),
}

/// Deeper nesting than this is no answer of ours; it bounds the recursion.
const MAX_DEPTH: usize = 32;

/// One whole JSON value, or nothing.
pub(super) fn parse(text: &str) -> Option<Value> {
    let mut reader = Reader { rest: text };
    let value = reader.value(0)?;
    reader.rest.trim_start().is_empty().then_some(value)
}

impl Value {
    /// The text under `key`, when this is an object that has one there.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        let Value::Object(members) = self else { return None };
        members.iter().find_map(|(name, value)| match value {
            Value::Text(text) if name == key => Some(text.as_str()),
            _ => None,
        })
    }

    /// Calls `visit` on this value and on every value inside it.
    pub(super) fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Value)) {
        visit(self);
        match self {
            Value::Array(items) => items.iter().for_each(|item| item.walk(visit)),
            Value::Object(members) => members.iter().for_each(|(_, value)| value.walk(visit)),
            Value::Plain(_) | Value::Text(_) => {}
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    /// Takes `token` off the front, after white space.
    fn eat(&mut self, token: char) -> bool {
        match self.rest.trim_start().strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        if self.eat('{') {
            return self.members(depth).map(Value::Object);
        }
        if self.eat('[') {
            return self.items(depth).map(Value::Array);
        }
        if self.eat('"') {
            return self.string().map(Value::Text);
        }
        self.rest = self.rest.trim_start();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let end = self.rest.find(|c| !plain(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        let known = matches!(word, "null" | "true" | "false") || word.parse::<f64>().is_ok();
        known.then(|| Value::Plain(word.to_owned()))
    }

    fn members(&mut self, depth: usize) -> Option<Vec<(String, Value)>> {
        let mut members = Vec::new();
        if self.eat('}') {
            return Some(members);
        }
        loop {
            let name = if self.eat('"') { self.string()? } else { return None };
            if !self.eat(':') {
                return None;
            }
            members.push((name, self.value(depth + 1)?));
            if self.eat('}') {
                return Some(members);
            }
            if !self.eat(',') {
                return None;
            }
        }
    }

    fn items(&mut self, depth: usize) -> Option<Vec<Value>> {
        let mut items = Vec::new();
        if self.eat(']') {
            return Some(items);
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.eat(']') {
                return Some(items);
            }
            if !self.eat(',') {
                return None;
            }
        }
    }

    /// The rest of a string whose opening quote is taken.
    fn string(&mut self) -> Option<String> {
        let mut text = String::new();
        let mut characters = self.rest.chars();
        loop {
            match characters.next()? {
                '"' => break,
                '\\' => text.push(match characters.next()? {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'u' => {
                        let digits: String = characters.by_ref().take(4).collect();
                        // Half of a surrogate pair alone is no character; shown as such.
                        char::from_u32(u32::from_str_radix(&digits, 16).ok()?).unwrap_or('\u{fffd}')
                    }
                    other @ ('"' | '\\' | '/') => other,
                    _ => return None,
                }),
                other => text.push(other),
            }
        }
        self.rest = characters.as_str();
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::{Value, parse};

    #[test]
    fn nested_values_keep_their_order_and_text() {
        let value = parse(
            r#" {"lane": "cpu", "programs": [{"runs": -1.5e3}, null], "why": "a \"b\"\n\u00e9"} "#,
        )
        .unwrap();
        assert_eq!(value.text("lane"), Some("cpu"));
        assert_eq!(value.text("why"), Some("a \"b\"\né"));
        assert_eq!(value.text("programs"), None);
        let mut seen = 0;
        value.walk(&mut |_| seen += 1);
        assert_eq!(seen, 7);
    }

    #[test]
    fn what_is_not_one_value_is_nothing() {
        for text in ["", "{", "{\"a\"}", "[1,]", "\"open", "{} {}", "nul", "{\"a\":1,}", "\"\\x\""]
        {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&"[".repeat(100_000)), None);
        assert_eq!(parse("[]"), Some(Value::Array(Vec::new())));
    }
}
