//! The picture: header, table, totals, keys.
//!
//! Separate from what is shown, so that a test can look at every cell of it.

use agent_common::parts::Layer;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout as Areas};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::columns::{Column, Layout, fit};
use super::layers::glyph;
use super::rates::{Rates, Row, Sampled};
use super::units::{age, bytes, count, ratio};
use super::view::View;

/// Lines that are not rows: two of header, what the bars mean, headings, totals,
/// the slow tail, keys.
pub const FIXED_LINES: u16 = 7;

/// Above these a value is worth a look. For the eye only: nothing is decided by
/// them.
const MANY_ERRORS: f64 = 0.01;
/// A run queue that is felt by a request, seconds.
const LONG_WAIT: f64 = 0.005;
/// Longest name before the slow tail, so that the tail is seen.
const MAX_TAIL_NAME: usize = 24;

/// Colours, or none.
#[derive(Clone, Copy, Debug)]
pub struct Theme {
    /// Whether there are colours.
    pub has_colour: bool,
}

impl Theme {
    fn colour(self, colour: Color) -> Style {
        if self.has_colour { Style::new().fg(colour) } else { Style::new() }
    }

    /// A layer's: its character on its colour.
    fn layer(self, layer: Layer) -> Style {
        let colour = match layer {
            Layer::Application => Color::Green,
            Layer::Runtime => Color::Cyan,
            Layer::Os => Color::Yellow,
            Layer::Network => Color::Magenta,
            Layer::Downstream => Color::Blue,
            Layer::Hardware => Color::Red,
            Layer::Unattributed => return DIM,
        };
        if self.has_colour { Style::new().fg(Color::Black).bg(colour) } else { Style::new() }
    }

    fn good(self) -> Style {
        self.colour(Color::Green)
    }

    fn warn(self) -> Style {
        self.colour(Color::Yellow)
    }

    fn bad(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }
}

const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);

/// What is to be said beside the samples.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Who watches.
    pub origin: String,
    /// What is wrong; empty if nothing is.
    pub trouble: String,
    /// What to say where there is no row at all.
    pub nobody: String,
}

/// Draws all of it.
pub fn draw(frame: &mut Frame<'_>, view: &View, status: &Status, theme: Theme) {
    let [header, headings, body, total, tail, keys] = Areas::vertical([
        Constraint::Length(3),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let rows = view.rows();
    let longest = view.sampled().rows.iter().map(|row| row.identity.name().chars().count());
    let layout = Layout::new(usize::from(frame.area().width), longest.max().unwrap_or(0));
    let has_bars = layout.columns().iter().any(|(column, _)| *column == Column::Layers);
    let header_lines = vec![
        agent_line(view.sampled(), status, theme),
        lanes_line(view.sampled(), theme),
        if has_bars { legend_line(theme) } else { Line::default() },
    ];
    frame.render_widget(Paragraph::new(header_lines), header);
    frame.render_widget(heading_line(&layout, view, theme), headings);
    let page = usize::from(body.height);
    let first = view.scroll.min(rows.len().saturating_sub(page));
    let lines: Vec<Line<'_>> =
        rows.iter().skip(first).take(page).map(|row| row_line(&layout, row, theme)).collect();
    if rows.is_empty() {
        frame.render_widget(Paragraph::new(nobody(view, status)).style(DIM), body);
    } else {
        frame.render_widget(Paragraph::new(lines), body);
    }
    frame.render_widget(total_line(&layout, &rows, view.sampled()), total);
    frame.render_widget(tail_line(rows.get(first).copied()), tail);
    let shown = rows.len().min(first + page);
    frame.render_widget(keys_line(view, first, shown, rows.len()), keys);
}

fn agent_line<'a>(sampled: &Sampled, status: &'a Status, theme: Theme) -> Line<'a> {
    let mut spans = vec![Span::styled("strata", BOLD)];
    if sampled.agent.version.is_empty() {
        spans.push(Span::styled("  waiting for the first sample", DIM));
    } else {
        spans.push(Span::raw(format!(" {}", sampled.agent.version)));
        spans.push(Span::raw(format!("  {}", status.origin)));
        spans.push(Span::raw(format!("  up {}", age(sampled.uptime_s))));
        if let Some(cpu) = sampled.agent_cpu {
            spans.push(Span::raw(format!("  cpu {}", ratio(cpu))));
        }
        spans.push(Span::raw(format!("  rss {}", bytes(sampled.agent.resident_bytes))));
    }
    let lost: f64 = sampled
        .rows
        .iter()
        .filter_map(|row| row.rates.as_ref())
        .map(|rates| rates.unmeasured)
        .sum();
    if lost > 0.0 {
        spans.push(Span::styled(format!("  LOST {}/s", count(lost)), theme.bad()));
    }
    if !status.trouble.is_empty() {
        spans.push(Span::styled(format!("  {}", status.trouble), theme.bad()));
    }
    Line::from(spans)
}

fn lanes_line<'a>(sampled: &Sampled, theme: Theme) -> Line<'a> {
    let mut spans = Vec::new();
    for lane in &sampled.agent.lanes {
        let (sign, style) = match lane.state.as_str() {
            "works" => ("", theme.good()),
            "degraded" => (" degraded", theme.warn()),
            "off" => (" off", DIM),
            _ => (" unavailable", theme.bad()),
        };
        let mark = if lane.state == "works" { "●" } else { "○" };
        spans.push(Span::styled(format!("{mark} {}{sign}  ", lane.lane), style));
    }
    Line::from(spans)
}

/// What the characters of the bars mean.
fn legend_line<'a>(theme: Theme) -> Line<'a> {
    let mut spans = Vec::new();
    for layer in Layer::ALL {
        spans.push(Span::styled(glyph(layer).to_string(), theme.layer(layer)));
        spans.push(Span::styled(format!(" {} ", layer.as_str()), DIM));
    }
    Line::from(spans)
}

/// What the slow tail of the first row on screen is made of.
fn tail_line<'a>(row: Option<&Row>) -> Line<'a> {
    let Some(row) = row else { return Line::default() };
    let words = row.rates.as_ref().map(|rates| rates.tail.words()).unwrap_or_default();
    if words.is_empty() {
        return Line::default();
    }
    let name = fit(&row.identity.name(), row.identity.name().chars().count().min(MAX_TAIL_NAME));
    Line::from(vec![Span::styled(format!("{name} slow: "), DIM), Span::raw(words)])
}

fn heading_line<'a>(layout: &Layout, view: &View, theme: Theme) -> Line<'a> {
    let mut spans = Vec::new();
    for (column, width) in layout.columns() {
        let is_sorted = *column == view.sort;
        let sign = match (is_sorted, view.is_descending) {
            (false, _) => "",
            (true, true) => "↓",
            (true, false) => "↑",
        };
        let text = format!("{}{sign}", column.heading());
        let text = match column {
            Column::Workload => fit(&text, *width),
            Column::Layers | Column::Tail => format!(" {}", fit(&text, *width)),
            _ => layout.number(&text, *width),
        };
        let style = if is_sorted { theme.colour(Color::Cyan).patch(BOLD) } else { BOLD };
        spans.push(Span::styled(text, style));
    }
    Line::from(spans)
}

fn row_line<'a>(layout: &Layout, row: &Row, theme: Theme) -> Line<'a> {
    let mut spans = Vec::new();
    let is_idle = row.rates.as_ref().is_none_or(|rates| rates.requests == 0.0);
    for (column, width) in layout.columns() {
        if let (Column::Layers, Some(rates)) = (column, &row.rates)
            && rates.parts.total_ns() > 0
        {
            spans.push(Span::raw(" "));
            for (layer, cells) in rates.parts.bar(*width) {
                let bar = glyph(layer).to_string().repeat(cells);
                spans.push(Span::styled(bar, theme.layer(layer)));
            }
            continue;
        }
        let text = layout.cell(*column, *width, row);
        let value = row.rates.as_ref().and_then(|rates| column.value(rates));
        let style = match column {
            Column::Workload if is_idle => DIM,
            Column::Workload | Column::Tail => Style::new(),
            _ => style_of(*column, value, theme),
        };
        spans.push(Span::styled(text, style));
    }
    Line::from(spans)
}

fn style_of(column: Column, value: Option<f64>, theme: Theme) -> Style {
    let Some(value) = value.filter(|value| *value > 0.0) else { return DIM };
    match column {
        Column::Errors if value >= MANY_ERRORS => theme.bad(),
        Column::Errors | Column::Throttled | Column::Retransmits => theme.warn(),
        Column::Runqueue if value >= LONG_WAIT => theme.warn(),
        _ => Style::new(),
    }
}

/// Totals of the rows that fit the filter.
fn total_line<'a>(layout: &Layout, rows: &[&Row], sampled: &Sampled) -> Line<'a> {
    let known = rows.iter().filter_map(|row| row.rates.as_ref());
    let total = Row {
        rates: (sampled.interval_s > 0.0).then(|| Rates::total(known, sampled.interval_s)),
        ..Row::default()
    };
    let name = match rows.len() {
        1 => "1 workload".to_owned(),
        many => format!("{many} workloads"),
    };
    let cells = layout.columns().iter().map(|(column, width)| match column {
        Column::Workload => fit(&name, *width),
        column => layout.cell(*column, *width, &total),
    });
    Line::styled(cells.collect::<String>(), BOLD)
}

fn nobody<'a>(view: &View, status: &'a Status) -> Vec<Line<'a>> {
    if !view.sampled().rows.is_empty() {
        return vec![Line::raw("no workload fits the filter; Esc clears it")];
    }
    status.nobody.lines().map(Line::raw).collect()
}

fn keys_line<'a>(view: &View, first: usize, shown: usize, all: usize) -> Line<'a> {
    if view.is_editing {
        return Line::from(vec![
            Span::styled(format!("/{}▏", view.filter), BOLD),
            Span::styled("  Enter keeps it, Esc clears it", DIM),
        ]);
    }
    let mut spans = Vec::new();
    if view.is_paused {
        spans.push(Span::styled("PAUSED  ", BOLD));
    }
    if !view.filter.is_empty() {
        spans.push(Span::styled(format!("/{}  ", view.filter), BOLD));
    }
    let mut keys = "q quit  s sort  r reverse  / filter  p pause".to_owned();
    if shown - first < all {
        keys.push_str(&format!("  ↑↓ {}-{shown} of {all}", first + 1));
    }
    spans.push(Span::styled(keys, DIM));
    Line::from(spans)
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::buffer::Buffer;

    use super::super::sample::sample;
    use super::*;

    fn status() -> Status {
        Status { origin: "agent pid 42".to_owned(), ..Status::default() }
    }

    fn picture(width: u16, height: u16, has_colour: bool, view: &View, status: &Status) -> Buffer {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, view, status, Theme { has_colour })).unwrap();
        terminal.backend().buffer().clone()
    }

    fn lines(buffer: &Buffer) -> Vec<String> {
        let width = usize::from(buffer.area.width);
        buffer
            .content
            .chunks(width)
            .map(|cells| cells.iter().map(|cell| cell.symbol()).collect::<String>())
            .map(|line| line.trim_end().to_owned())
            .collect()
    }

    fn view() -> View {
        let mut view = View::default();
        view.take(Sampled::between(&sample(10, 0), &sample(12, 1)).unwrap());
        view
    }

    #[test]
    fn eighty_columns_show_the_layers_of_every_workload() {
        let shown = lines(&picture(80, 12, false, &view(), &status()));
        assert_eq!(
            shown,
            [
                "strata 0.1.0  agent pid 42  up 12s  cpu 0.5%  rss 18.0 MiB  LOST 50.0/s",
                "● sockets  ○ cpu degraded  ○ syscalls off",
                "a application r runtime o os n network d downstream h hardware · unattributed",
                "WORKLOAD                 REQ/S↓   ERR%    P50    P99  RUNQ99  THROT LAYERS",
                "systemd/nginx.service       100      0  361us  376us       -      0 -",
                "shop/api-7d9…5-x2x4z/api   50.0    10% 6.32ms  589ms    12us    25% aaaaaadddd··",
                "process/idle                  0      -      -      -       -      0 -",
                "",
                "",
                "3 workloads                 150   5.0%  377us  584ms    12us    25% aaaaaadddd··",
                "",
                "q quit  s sort  r reverse  / filter  p pause",
            ]
        );
    }

    #[test]
    fn the_slow_tail_is_told_in_a_column_or_in_a_line() {
        let mut view = view();
        view.filter = "shop".to_owned();
        let words = "71% downstream.wait, 20% os.runqueue, 9.0% application.cpu";
        let shown = lines(&picture(80, 12, false, &view, &status()));
        assert_eq!(
            shown[10],
            format!("shop/api-7d9…5-x2x4z/api slow: {words}").chars().take(80).collect::<String>()
        );
        let shown = lines(&picture(200, 12, false, &view, &status()));
        assert!(shown[4].ends_with(words), "{}", shown[4]);
    }

    #[test]
    fn a_bar_has_the_colours_of_its_layers() {
        let shown = picture(80, 12, true, &view(), &status());
        let cells = shown.content.iter().skip(5 * 80 + 68).take(12);
        let colours: Vec<Color> = cells.map(|cell| cell.bg).collect();
        assert_eq!(colours[..10], [[Color::Green; 6].as_slice(), &[Color::Blue; 4]].concat());
        assert_eq!(colours[10..], [Color::Reset; 2]);
    }

    #[test]
    fn a_narrow_screen_keeps_requests_and_p99() {
        let shown = lines(&picture(40, 12, false, &view(), &status()));
        assert!(shown[3].contains("REQ/S↓") && shown[3].contains("P99"), "{}", shown[3]);
        assert!(!shown[3].contains("P95"));
        assert!(shown.iter().all(|line| line.chars().count() <= 40));
    }

    #[test]
    fn any_size_can_be_drawn() {
        for width in [1, 2, 7, 20, 79, 81, 200] {
            for height in [1, 2, 4, 6, 7, 50] {
                picture(width, height, true, &view(), &status());
                picture(width, height, true, &View::default(), &Status::default());
            }
        }
    }

    #[test]
    fn without_colours_there_are_none() {
        let has_colour = |buffer: &Buffer| {
            buffer.content.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
        };
        assert!(has_colour(&picture(100, 12, true, &view(), &status())));
        assert!(!has_colour(&picture(100, 12, false, &view(), &status())));
    }

    #[test]
    fn what_is_wrong_and_what_is_missing_is_said() {
        let status = Status {
            trouble: "the agent ended the connection; waiting for it".to_owned(),
            nobody: "no workload yet".to_owned(),
            ..status()
        };
        let shown = lines(&picture(100, 12, false, &View::default(), &status)).join("\n");
        assert!(shown.contains("waiting for the first sample"), "{shown}");
        assert!(shown.contains("ended the connection"), "{shown}");
        assert!(shown.contains("no workload yet"), "{shown}");
        let mut view = view();
        view.filter = "nothing has this".to_owned();
        let shown = lines(&picture(100, 12, false, &view, &status)).join("\n");
        assert!(shown.contains("no workload fits the filter"), "{shown}");
    }

    #[test]
    fn more_rows_than_lines_can_be_scrolled() {
        let mut view = view();
        view.scroll = 1;
        let shown = lines(&picture(80, FIXED_LINES + 2, false, &view, &status()));
        assert!(shown[4].starts_with("shop/"), "{shown:?}");
        assert!(shown.last().unwrap().contains("2-3 of 3"), "{shown:?}");
    }
}
