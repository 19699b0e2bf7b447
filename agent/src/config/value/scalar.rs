//! Values that are one word: booleans, choices, numbers, addresses.
//!
//! Separate from the units so that each file holds one kind of arithmetic.

use std::fmt::Display;
use std::net::SocketAddr;
use std::str::FromStr;

use super::{Type, Unfit};

/// `true` or `false`, and nothing else: YAML's `yes` and `on` are refused so
/// that file, environment and flags accept the same words.
pub(in crate::config) struct Flag;

impl Type for Flag {
    type Value = bool;

    fn parse(&self, text: &str) -> Result<bool, Unfit> {
        text.parse().map_err(|_not_bool| Unfit::Flag { text: text.to_owned() })
    }

    fn show(&self, value: &bool) -> String {
        value.to_string()
    }

    fn describe(&self) -> String {
        "true or false".to_owned()
    }

    fn is_boolean(&self) -> bool {
        true
    }
}

/// One of a closed set of words, each with its value.
pub(in crate::config) struct Choice<T: 'static>(pub(in crate::config) &'static [(&'static str, T)]);

impl<T> Choice<T> {
    fn words(&self) -> String {
        self.0.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ")
    }
}

impl<T: Copy + PartialEq + Sync> Type for Choice<T> {
    type Value = T;

    fn parse(&self, text: &str) -> Result<T, Unfit> {
        let found = self.0.iter().find(|(word, _)| *word == text);
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| Unfit::Choice { text: text.to_owned(), choices: self.words() })
    }

    fn show(&self, value: &T) -> String {
        let found = self.0.iter().find(|(_, known)| known == value);
        found.map(|(word, _)| (*word).to_owned()).unwrap_or_default()
    }

    fn describe(&self) -> String {
        format!("one of {}", self.words())
    }
}

/// A whole number between two bounds, both allowed.
pub(in crate::config) struct Whole<N> {
    /// The least that is allowed.
    pub(in crate::config) min: N,
    /// The most that is allowed.
    pub(in crate::config) max: N,
}

impl<N: Copy + Ord + Display + FromStr + Sync> Type for Whole<N> {
    type Value = N;

    fn parse(&self, text: &str) -> Result<N, Unfit> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Unfit::Form { text: text.to_owned(), wanted: "a whole number" });
        }
        // Digits that do not fit the type are out of bounds as well.
        match text.parse() {
            Ok(value) if value >= self.min && value <= self.max => Ok(value),
            _ => Err(Unfit::Bounds {
                text: text.to_owned(),
                min: self.min.to_string(),
                max: self.max.to_string(),
            }),
        }
    }

    fn show(&self, value: &N) -> String {
        value.to_string()
    }

    fn describe(&self) -> String {
        format!("whole number, {} to {}", self.min, self.max)
    }
}

/// A part of a whole: 0.01 is one per cent.
pub(in crate::config) struct Share {
    /// The least that is allowed.
    pub(in crate::config) min: f64,
    /// The most that is allowed.
    pub(in crate::config) max: f64,
}

impl Type for Share {
    type Value = f64;

    fn parse(&self, text: &str) -> Result<f64, Unfit> {
        let wanted = "a share such as 0.01";
        let Ok(value) = text.parse::<f64>() else {
            return Err(Unfit::Form { text: text.to_owned(), wanted });
        };
        // A NaN is in no range.
        if !(self.min..=self.max).contains(&value) {
            return Err(Unfit::Bounds {
                text: text.to_owned(),
                min: self.min.to_string(),
                max: self.max.to_string(),
            });
        }
        Ok(value)
    }

    fn show(&self, value: &f64) -> String {
        value.to_string()
    }

    fn describe(&self) -> String {
        format!("share, {} to {}", self.min, self.max)
    }
}

/// An IP address and a port. Names are refused: what an agent listens on must
/// not depend on a resolver.
pub(in crate::config) struct Address;

impl Type for Address {
    type Value = SocketAddr;

    fn parse(&self, text: &str) -> Result<SocketAddr, Unfit> {
        let wanted = "an IP address and a port such as 127.0.0.1:9464 or [::1]:9464";
        text.parse().map_err(|_not_address| Unfit::Form { text: text.to_owned(), wanted })
    }

    fn show(&self, value: &SocketAddr) -> String {
        value.to_string()
    }

    fn describe(&self) -> String {
        "IP address and port".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_true_and_false_are_booleans() {
        assert_eq!(Flag.parse("true"), Ok(true));
        assert_eq!(Flag.parse("false"), Ok(false));
        for text in ["yes", "on", "1", "True", "", " true"] {
            assert!(Flag.parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn numbers_beyond_their_type_are_out_of_bounds_and_say_the_bounds() {
        let port = Whole::<u16> { min: 1, max: u16::MAX };
        assert_eq!(port.parse("8080"), Ok(8080));
        for text in ["0", "65536", "99999999999999999999"] {
            let refusal = port.parse(text).unwrap_err().to_string();
            assert_eq!(refusal, format!("`{text}` is out of bounds: 1 to 65535"));
        }
        for text in ["-1", "+1", "0x50", "80 ", "", "8e1"] {
            assert!(matches!(port.parse(text), Err(Unfit::Form { .. })), "{text:?}");
        }
    }

    #[test]
    fn a_share_is_a_finite_number_within_bounds() {
        let budget = Share { min: 0.001, max: 1.0 };
        assert_eq!(budget.parse("0.01"), Ok(0.01));
        for text in ["NaN", "inf", "0", "1.5", "-0.01", "1%"] {
            assert!(budget.parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_address_needs_its_port_and_no_resolver() {
        assert!(Address.parse("[::1]:9464").is_ok());
        for text in ["localhost:9464", ":9464", "127.0.0.1", "127.0.0.1:99999"] {
            assert!(Address.parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_parses_back(share in 0.001f64..=1.0, port: u16, ip: [u8; 4]) {
            let budget = Share { min: 0.001, max: 1.0 };
            prop_assert_eq!(budget.parse(&budget.show(&share)), Ok(share));
            let address = SocketAddr::from((ip, port));
            prop_assert_eq!(Address.parse(&Address.show(&address)), Ok(address));
        }
    }
}
