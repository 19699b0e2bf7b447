//! Attributes: names with values, as OTLP has them.
//!
//! Separate so that what is said of a request reads as a list.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};

/// A list of attributes. What is empty is left out.
#[derive(Debug, Default)]
pub(super) struct Attributes(Vec<KeyValue>);

impl Attributes {
    /// Adds text.
    pub(super) fn text(&mut self, key: &str, text: &str) {
        if !text.is_empty() {
            self.add(key.to_owned(), Value::StringValue(text.to_owned()));
        }
    }

    /// Adds a number.
    pub(super) fn number(&mut self, key: &str, number: u64) {
        self.add(key.to_owned(), Value::IntValue(number.cast_signed()));
    }

    /// Adds a time, which is said in seconds.
    pub(super) fn seconds(&mut self, key: String, ns: u64) {
        self.add(key, Value::DoubleValue(ns as f64 / 1e9));
    }

    /// Adds a list of texts.
    pub(super) fn list(&mut self, key: &str, texts: impl Iterator<Item = String>) {
        let any = |text| AnyValue { value: Some(Value::StringValue(text)) };
        let values: Vec<AnyValue> = texts.map(any).collect();
        if !values.is_empty() {
            self.add(key.to_owned(), Value::ArrayValue(ArrayValue { values }));
        }
    }

    fn add(&mut self, key: String, value: Value) {
        let value = Some(AnyValue { value: Some(value) });
        self.0.push(KeyValue { key, value, ..KeyValue::default() });
    }

    /// The list.
    pub(super) fn into_vec(self) -> Vec<KeyValue> {
        self.0
    }
}
