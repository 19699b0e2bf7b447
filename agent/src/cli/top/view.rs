//! What is shown of the samples: order, filter, pause, and the keys that change
//! them. Pure.

use std::cmp::Ordering;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::columns::Column;
use super::rates::{Row, Sampled};

/// Longest filter, characters.
const MAX_FILTER: usize = 100;

/// See the module.
#[derive(Clone, Debug)]
pub struct View {
    /// The column that rows are sorted by.
    pub sort: Column,
    /// Whether the largest comes first; for names, whether Z does.
    pub is_descending: bool,
    /// Only names that have this in them, in any case.
    pub filter: String,
    /// Whether keys go into the filter.
    pub is_editing: bool,
    /// Whether new samples are held back.
    pub is_paused: bool,
    /// Rows above the first that is shown.
    pub scroll: usize,
    shown: Sampled,
    latest: Sampled,
}

/// What a key asks for beyond the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing.
    Stay,
    /// To leave.
    Quit,
}

impl Default for View {
    fn default() -> Self {
        Self {
            sort: Column::Requests,
            is_descending: true,
            filter: String::new(),
            is_editing: false,
            is_paused: false,
            scroll: 0,
            shown: Sampled::default(),
            latest: Sampled::default(),
        }
    }
}

impl View {
    /// Takes a new sample; while paused it is not shown.
    pub fn take(&mut self, sampled: Sampled) {
        self.latest = sampled;
        if !self.is_paused {
            self.shown = self.latest.clone();
        }
    }

    /// The sample that is shown.
    #[must_use]
    pub const fn sampled(&self) -> &Sampled {
        &self.shown
    }

    /// Rows that fit the filter, in order.
    #[must_use]
    pub fn rows(&self) -> Vec<&Row> {
        let wanted = self.filter.to_lowercase();
        let fits = |row: &&Row| row.identity.name().to_lowercase().contains(&wanted);
        sorted(self.shown.rows.iter().filter(fits), self.sort, self.is_descending)
    }

    /// Does what a key asks for. `page` is the number of rows on screen.
    pub fn on_key(&mut self, key: KeyEvent, page: usize) -> Outcome {
        if key.kind == KeyEventKind::Release {
            return Outcome::Stay;
        }
        let has_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if has_control && matches!(key.code, KeyCode::Char('c' | 'C')) {
            return Outcome::Quit;
        }
        if self.is_editing {
            self.edit(key.code, has_control);
            return Outcome::Stay;
        }
        match key.code {
            KeyCode::Char('q') => return Outcome::Quit,
            KeyCode::Char('s' | '>') | KeyCode::Right => self.sort_by_neighbour(1),
            KeyCode::Char('<') | KeyCode::Left => self.sort_by_neighbour(Column::ALL.len() - 1),
            KeyCode::Char('r') => self.is_descending = !self.is_descending,
            KeyCode::Char('/') => self.is_editing = true,
            KeyCode::Char('p' | ' ') => self.pause(),
            KeyCode::Esc => self.filter.clear(),
            code => self.scroll_by(code, page),
        }
        Outcome::Stay
    }

    fn edit(&mut self, code: KeyCode, has_control: bool) {
        self.scroll = 0;
        match code {
            KeyCode::Enter => self.is_editing = false,
            KeyCode::Esc => {
                self.is_editing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char('u') if has_control => self.filter.clear(),
            KeyCode::Char(c) if !has_control && self.filter.chars().count() < MAX_FILTER => {
                self.filter.push(c);
            }
            _ => {}
        }
    }

    fn sort_by_neighbour(&mut self, steps: usize) {
        let at = Column::ALL.iter().position(|column| *column == self.sort).unwrap_or(0);
        if let Some(column) = Column::ALL.get((at + steps) % Column::ALL.len()) {
            self.sort = *column;
        }
        // Numbers: the largest first. Names: A first.
        self.is_descending = self.sort != Column::Workload;
        self.scroll = 0;
    }

    fn pause(&mut self) {
        self.is_paused = !self.is_paused;
        if !self.is_paused {
            self.shown = self.latest.clone();
        }
    }

    fn scroll_by(&mut self, code: KeyCode, page: usize) {
        let last = self.rows().len().saturating_sub(page);
        self.scroll = match code {
            KeyCode::Down | KeyCode::Char('j') => self.scroll + 1,
            KeyCode::Up | KeyCode::Char('k') => self.scroll.saturating_sub(1),
            KeyCode::PageDown => self.scroll + page,
            KeyCode::PageUp => self.scroll.saturating_sub(page),
            KeyCode::Home => 0,
            KeyCode::End => last,
            _ => self.scroll,
        }
        .min(last);
    }
}

/// Rows in the order of a column. What has no value comes last either way, and
/// equals by name, so that rows do not change places for nothing.
pub fn sorted<'a>(
    rows: impl Iterator<Item = &'a Row>,
    sort: Column,
    is_descending: bool,
) -> Vec<&'a Row> {
    let mut keyed: Vec<(Option<f64>, String, &Row)> = rows
        .map(|row| {
            let value = row.rates.as_ref().and_then(|rates| sort.value(rates));
            (value, row.identity.name(), row)
        })
        .collect();
    let turned = |order: Ordering| if is_descending { order.reverse() } else { order };
    keyed.sort_by(|a, b| match (sort, a.0, b.0) {
        (Column::Workload, ..) => turned(a.1.cmp(&b.1)),
        (_, Some(x), Some(y)) => turned(x.total_cmp(&y)).then_with(|| a.1.cmp(&b.1)),
        (_, x, y) => y.is_some().cmp(&x.is_some()).then_with(|| a.1.cmp(&b.1)),
    });
    keyed.into_iter().map(|(.., row)| row).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample::sample;
    use super::*;

    fn view() -> View {
        let mut view = View::default();
        view.take(Sampled::between(&sample(10, 0), &sample(12, 1)).unwrap());
        view
    }

    fn press(view: &mut View, keys: &str) -> Outcome {
        let mut outcome = Outcome::Stay;
        for c in keys.chars() {
            let code = match c {
                '\n' => KeyCode::Enter,
                '\x1b' => KeyCode::Esc,
                '\x08' => KeyCode::Backspace,
                c => KeyCode::Char(c),
            };
            outcome = view.on_key(KeyEvent::new(code, KeyModifiers::NONE), 10);
        }
        outcome
    }

    fn names(view: &View) -> Vec<String> {
        view.rows().iter().map(|row| row.identity.workload.clone()).collect()
    }

    #[test]
    fn the_busiest_comes_first_and_r_turns_it_round() {
        let mut view = view();
        let all = ["systemd/nginx.service", "deployment/api", "process/idle"];
        assert_eq!(names(&view), all);
        press(&mut view, "r");
        assert_eq!(names(&view), ["process/idle", "deployment/api", "systemd/nginx.service"]);
    }

    #[test]
    fn s_goes_through_all_columns_and_back_to_the_first() {
        let mut view = view();
        press(&mut view, "sss");
        assert_eq!(view.sort, Column::P95);
        assert_eq!(names(&view)[2], "process/idle", "what has no value comes last");
        press(&mut view, "r");
        assert_eq!(names(&view)[2], "process/idle", "in either order");
        press(&mut view, "sssssss");
        assert_eq!((view.sort, view.is_descending), (Column::Workload, false));
        press(&mut view, "<");
        assert_eq!((view.sort, view.is_descending), (Column::Tail, true));
    }

    #[test]
    fn a_filter_takes_keys_until_it_is_done() {
        let mut view = view();
        press(&mut view, "/NGq\x08");
        assert_eq!((view.filter.as_str(), names(&view).len()), ("NG", 1));
        assert_eq!(press(&mut view, "q\x08\n"), Outcome::Stay, "q is a letter while editing");
        assert!(!view.is_editing);
        press(&mut view, "\x1b");
        assert_eq!(names(&view).len(), 3);
        assert_eq!(press(&mut view, "q"), Outcome::Quit);
    }

    #[test]
    fn control_c_leaves_also_out_of_the_filter() {
        let mut view = view();
        press(&mut view, "/");
        let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(view.on_key(key, 10), Outcome::Quit);
    }

    #[test]
    fn while_paused_the_picture_stays_and_then_it_is_the_latest() {
        let mut view = view();
        press(&mut view, "p");
        view.take(Sampled::first(&sample(20, 5)));
        assert!(view.sampled().interval_s > 0.0);
        press(&mut view, " ");
        assert!(view.sampled().interval_s == 0.0);
    }

    #[test]
    fn scrolling_stays_within_the_rows() {
        let mut view = view();
        for _ in 0..5 {
            view.on_key(KeyEvent::new(KeyCode::Down, KeyModifiers::NONE), 2);
        }
        assert_eq!(view.scroll, 1);
        view.on_key(KeyEvent::new(KeyCode::PageUp, KeyModifiers::NONE), 2);
        assert_eq!(view.scroll, 0);
    }
}
