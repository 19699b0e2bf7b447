//! Colours of layers, or none.
//!
//! Separate so that a picture with colours and one without differ in nothing
//! else.

use agent_common::parts::Layer;

/// Paints text, where it may.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    is_on: bool,
}

impl Paint {
    /// One that paints or does not.
    pub(super) const fn new(is_on: bool) -> Self {
        Self { is_on }
    }

    /// The text in the colour of a layer.
    pub(super) fn layer(self, layer: Layer, text: &str) -> String {
        let code = match layer {
            Layer::Application => "32",
            Layer::Runtime => "36",
            Layer::Os => "33",
            Layer::Network => "35",
            Layer::Downstream => "34",
            Layer::Hardware => "31",
            Layer::Unattributed => "90",
        };
        self.with(code, text)
    }

    /// The text of a title.
    pub(super) fn title(self, text: &str) -> String {
        self.with("1", text)
    }

    /// Text that matters less.
    pub(super) fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    /// Text of something that failed.
    pub(super) fn failure(self, text: &str) -> String {
        self.with("31", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.is_on && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
