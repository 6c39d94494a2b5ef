//! A run of a cluster as one page of HTML: time from left to right, a lane for each node and each client, messages as
//! arrows between them.
//!
//! The page is whole: it asks for no other file and no network, whatever the labels say. It is drawn by `lanes.html`,
//! the template beside this file, from one JSON literal that this file writes; here is decided only what overlaps and
//! in which row it goes. Nothing of replicas, networks or checks is known here: the caller says it in labels.

use std::collections::BTreeMap;
use std::fmt::Write;

const TEMPLATE: &str = include_str!("lanes.html");

/// What the template has where the run goes, within a `<script type="application/json">`.
const PLACE: &str = "\"THE RUN GOES HERE\"";

/// Rows of one lane. What would need more is drawn over the row that is free the soonest.
const ROWS_MAX: usize = 48;

/// Times past it (285 years) are drawn at it: the page has doubles, which hold every microsecond up to here.
const MICROS_MAX: u64 = (1 << 53) - 1;

/// A run, as it is drawn. All times are virtual microseconds since the run began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lanes {
    /// The heading.
    pub title: String,
    /// What a reader should know, in several lines: seed, verdict, the command that replays it. What stands in
    /// `` `backticks` `` is shown as a command, with a button that copies it.
    pub about: String,
    /// How long the run was. What lies past it is drawn all the same.
    pub micros: u64,
    /// From top to bottom.
    pub lanes: Vec<Lane>,
    /// Messages, in any order.
    pub arrows: Vec<Arrow>,
}

/// What one node or one client did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lane {
    /// Its name, at the left of the page.
    pub name: String,
    /// In any order. Those that overlap are drawn in rows below each other.
    pub spans: Vec<Span>,
    /// In any order.
    pub marks: Vec<Mark>,
}

/// Something that lasted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// When it began.
    pub from: u64,
    /// When it ended. Not past `from`: it is drawn as a point.
    pub to: u64,
    /// What it was.
    pub kind: SpanKind,
    /// In words, for example `term 3` or `Reserve 4 of product 7`.
    pub label: String,
}

/// What lasted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// A node was leader.
    Leads,
    /// A node followed.
    Follows,
    /// A node did not run.
    Down,
    /// A node's process stood still.
    Paused,
    /// A node was cut off from others.
    Cut,
    /// A node's disk, clock or links were slow.
    Slow,
    /// A client's operation that was answered.
    Operation,
    /// A client's operation of which nobody knows whether it took effect.
    Unknown,
    /// A client's operation that was refused.
    Refused,
}

impl SpanKind {
    /// All of them, each at the place of its number.
    const ALL: [SpanKind; 9] = [
        SpanKind::Leads,
        SpanKind::Follows,
        SpanKind::Down,
        SpanKind::Paused,
        SpanKind::Cut,
        SpanKind::Slow,
        SpanKind::Operation,
        SpanKind::Unknown,
        SpanKind::Refused,
    ];

    /// Rows of a lower layer are above those of a higher one, so that a node's state keeps the first row of its lane.
    fn layer(self) -> usize {
        match self {
            SpanKind::Leads | SpanKind::Follows | SpanKind::Down | SpanKind::Paused => 0,
            SpanKind::Cut | SpanKind::Slow => 1,
            SpanKind::Operation | SpanKind::Unknown | SpanKind::Refused => 2,
        }
    }
}

/// Something that happened at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// When.
    pub at: u64,
    /// What it was.
    pub kind: MarkKind,
    /// In words.
    pub label: String,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkKind {
    /// The simulator did something to the node.
    Fault,
    /// A node started.
    Start,
    /// A node crashed, or lost its power.
    Crash,
    /// A promise was broken, here. Drawn across all lanes.
    Broken,
    /// Anything else.
    Other,
}

impl MarkKind {
    /// All of them, each at the place of its number.
    const ALL: [MarkKind; 5] = [MarkKind::Fault, MarkKind::Start, MarkKind::Crash, MarkKind::Broken, MarkKind::Other];
}

/// A message from one lane to another. One that names a lane that is not there is not drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrow {
    /// The sender's place in [`Lanes::lanes`].
    pub from: usize,
    /// When it was sent.
    pub sent: u64,
    /// The receiver's place in [`Lanes::lanes`].
    pub to: usize,
    /// When it arrived; `None` if it was lost. Before `sent`: it is drawn as if it took no time.
    pub arrived: Option<u64>,
    /// In words.
    pub label: String,
}

impl Lanes {
    /// The page: one HTML document that needs nothing else. It can be written to a file and opened as it is.
    #[must_use]
    pub fn page(&self) -> String {
        let (before, after) = TEMPLATE.split_once(PLACE).unwrap_or((TEMPLATE, ""));
        [before, &self.json(), after].concat()
    }

    /// The run as JSON. Lists are kept as columns and labels as numbers into one table, because there may be a hundred
    /// thousand arrows with a few dozen different labels.
    fn json(&self) -> String {
        let mut labels = Labels::default();
        let mut lanes = String::new();
        for (number, lane) in self.lanes.iter().enumerate() {
            if number > 0 {
                lanes.push_str(",\n");
            }
            write_lane(&mut lanes, lane, &mut labels);
        }
        let mut arrows = String::new();
        self.write_arrows(&mut arrows, &mut labels);

        let mut out = String::from("{\"title\":");
        write_text(&mut out, &self.title);
        out.push_str(",\n\"about\":");
        write_text(&mut out, &self.about);
        let _ = write!(out, ",\n\"micros\":{},\n\"kinds\":", time(self.micros));
        write_texts(&mut out, kinds());
        out.push_str(",\n\"labels\":");
        write_texts(&mut out, labels.texts.iter());
        let _ = write!(out, ",\n\"lanes\":[{lanes}],\n\"arrows\":{arrows}}}");
        out
    }

    fn write_arrows<'a>(&'a self, out: &mut String, labels: &mut Labels<'a>) {
        let is_there = |lane: usize| lane < self.lanes.len();
        let mut arrows: Vec<&Arrow> = self.arrows.iter().filter(|arrow| is_there(arrow.from) && is_there(arrow.to)).collect();
        arrows.sort_by_key(|arrow| arrow.sent);
        out.push('{');
        write_column(out, "start", arrows.iter().map(|arrow| time(arrow.sent)));
        write_column(out, "end", arrows.iter().map(|arrow| time(arrow.arrived.unwrap_or(0).max(arrow.sent))));
        write_column(out, "kind", arrows.iter().map(|arrow| if arrow.arrived.is_some() { MESSAGE } else { MESSAGE + 1 }));
        write_column(out, "from", arrows.iter().map(|arrow| arrow.from as u64));
        write_column(out, "to", arrows.iter().map(|arrow| arrow.to as u64));
        write_column(out, "label", arrows.iter().map(|arrow| labels.number(&arrow.label)));
        out.push('}');
    }
}

/// The number of an arrow's kind: behind those of spans and of marks. A lost one has the next.
const MESSAGE: u64 = (SpanKind::ALL.len() + MarkKind::ALL.len()) as u64;

/// The names of all kinds, each at the place of its number in the page.
fn kinds() -> impl Iterator<Item = String> {
    let spans = SpanKind::ALL.into_iter().map(|kind| format!("{kind:?}"));
    let marks = MarkKind::ALL.into_iter().map(|kind| format!("{kind:?}"));
    spans.chain(marks).chain(["Message".to_owned(), "Lost".to_owned()])
}

/// Every label once, in the order in which they were first met.
#[derive(Debug, Default)]
struct Labels<'a> {
    texts: Vec<&'a str>,
    numbers: BTreeMap<&'a str, u64>,
}

impl<'a> Labels<'a> {
    fn number(&mut self, text: &'a str) -> u64 {
        *self.numbers.entry(text).or_insert_with(|| {
            self.texts.push(text);
            self.texts.len() as u64 - 1
        })
    }
}

fn write_lane<'a>(out: &mut String, lane: &'a Lane, labels: &mut Labels<'a>) {
    out.push_str("{\"name\":");
    write_text(out, &lane.name);
    out.push_str(",\"rows\":[");
    for (number, row) in rows(&lane.spans).iter().enumerate() {
        out.push_str(if number > 0 { ",{" } else { "{" });
        write_column(out, "start", row.iter().map(|span| time(span.from)));
        write_column(out, "end", row.iter().map(|span| time(span.to.max(span.from))));
        write_column(out, "kind", row.iter().map(|span| span.kind as u64));
        write_column(out, "label", row.iter().map(|span| labels.number(&span.label)));
        out.push('}');
    }
    let mut marks: Vec<&Mark> = lane.marks.iter().collect();
    marks.sort_by_key(|mark| mark.at);
    out.push_str("],\"marks\":{");
    write_column(out, "start", marks.iter().map(|mark| time(mark.at)));
    write_column(out, "end", marks.iter().map(|mark| time(mark.at)));
    write_column(out, "kind", marks.iter().map(|mark| SpanKind::ALL.len() as u64 + mark.kind as u64));
    write_column(out, "label", marks.iter().map(|mark| labels.number(&mark.label)));
    out.push_str("}}");
}

/// The spans of a lane in rows in which none overlaps another, each row in the order of time. A span goes to the first
/// row of its layer that is free.
fn rows(spans: &[Span]) -> Vec<Vec<&Span>> {
    let mut sorted: Vec<&Span> = spans.iter().collect();
    sorted.sort_by_key(|span| (span.kind.layer(), span.from, std::cmp::Reverse(span.to)));
    let mut rows: Vec<Row<'_>> = Vec::new();
    for span in sorted {
        let layer = span.kind.layer();
        // A point takes room too, or two of one moment would hide each other.
        let until = span.to.max(span.from.saturating_add(1));
        let own = || rows.iter().enumerate().filter(|(_, row)| row.layer == layer);
        let free = own().find(|(_, row)| row.until <= span.from);
        let soonest = || own().min_by_key(|(_, row)| row.until).filter(|_| rows.len() >= ROWS_MAX);
        match free.or_else(soonest).map(|(number, _)| number) {
            Some(number) => {
                rows[number].spans.push(span);
                rows[number].until = rows[number].until.max(until);
            }
            None => rows.push(Row { layer, until, spans: vec![span] }),
        }
    }
    rows.into_iter().map(|row| row.spans).collect()
}

struct Row<'a> {
    layer: usize,
    /// When it is free again.
    until: u64,
    spans: Vec<&'a Span>,
}

fn time(micros: u64) -> u64 {
    micros.min(MICROS_MAX)
}

/// A member of an object: a name and numbers, behind a comma unless it is the first.
fn write_column(out: &mut String, name: &str, numbers: impl Iterator<Item = u64>) {
    let comma = if out.ends_with('{') { "" } else { "," };
    let _ = write!(out, "{comma}\"{name}\":[");
    for (at, number) in numbers.enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let _ = write!(out, "{comma}{number}");
    }
    out.push(']');
}

fn write_texts(out: &mut String, texts: impl Iterator<Item = impl AsRef<str>>) {
    out.push('[');
    for (at, text) in texts.enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_text(out, text.as_ref());
    }
    out.push(']');
}

/// A JSON string that is also safe inside a `<script>` element: nothing in it can end the element, begin a comment, or
/// end a line for a reader of JavaScript.
fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\0'..='\u{1f}' | '\u{7f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::{
        Arrow, Lane, Lanes, MESSAGE, MICROS_MAX, Mark, MarkKind, PLACE, ROWS_MAX, Span, SpanKind, TEMPLATE, kinds, rows, write_text,
    };

    const NASTY: &str = "</script><!-- \u{2028}\u{2029} \"\\ &amp; ]]> \0\t\r\n \u{feff}\u{7f} 'é 𝄞` ${x}";

    fn span(from: u64, to: u64, kind: SpanKind) -> Span {
        Span { from, to, kind, label: format!("{from} to {to}") }
    }

    fn odd() -> Lanes {
        let marks = vec![
            Mark { at: 90, kind: MarkKind::Broken, label: NASTY.to_owned() },
            Mark { at: 10, kind: MarkKind::Other, label: PLACE.to_owned() },
        ];
        let spans = vec![span(50, 20, SpanKind::Down), span(0, u64::MAX, SpanKind::Leads), span(u64::MAX, 0, SpanKind::Unknown)];
        let arrow = |from, to, arrived| Arrow { from, sent: 40, to, arrived, label: NASTY.to_owned() };
        Lanes {
            title: NASTY.to_owned(),
            about: format!("{NASTY}\n`{NASTY}`"),
            micros: 100,
            lanes: vec![Lane { name: NASTY.to_owned(), spans, marks }, Lane::default()],
            arrows: vec![arrow(0, 1, Some(30)), arrow(1, 0, None), arrow(1, 1, Some(u64::MAX)), arrow(2, 0, None), arrow(0, 9, None)],
        }
    }

    /// What of a page is the run.
    fn data_of(page: &str) -> &str {
        let (before, after) = TEMPLATE.split_once(PLACE).expect("the template has a place for the run");
        page.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).expect("the page is the template with the run in its place")
    }

    #[test]
    fn the_template_has_one_place_for_the_run() {
        assert_eq!(TEMPLATE.matches(PLACE).count(), 1);
        assert!(TEMPLATE.contains(&format!("<script id=\"run\" type=\"application/json\">{PLACE}</script>")));
    }

    #[test]
    fn every_kind_has_its_number_and_its_looks() {
        assert!(SpanKind::ALL.iter().enumerate().all(|(number, kind)| *kind as usize == number), "{:?}", SpanKind::ALL);
        assert!(MarkKind::ALL.iter().enumerate().all(|(number, kind)| *kind as usize == number), "{:?}", MarkKind::ALL);
        for name in kinds() {
            assert!(TEMPLATE.contains(&format!("\n  {name}: {{ word: ")), "lanes.html does not say how {name} looks");
        }
        assert_eq!(kinds().position(|name| name == "Message"), Some(MESSAGE as usize));
        assert_eq!(kinds().position(|name| name == "Lost"), Some(MESSAGE as usize + 1));
    }

    #[test]
    fn a_label_cannot_leave_the_script_and_survives() {
        let page = odd().page();
        let data = data_of(&page);
        for forbidden in ['<', '>', '&', '\u{2028}', '\u{2029}', '\0', '\r', '\t'] {
            assert!(!data.contains(forbidden), "{forbidden:?} is in the data");
        }
        let texts = json::texts(data).expect("the data is JSON");
        assert_eq!(texts.iter().filter(|text| *text == NASTY).count(), 3, "the title, the name and, once for all, the label: {texts:?}");
        assert!(texts.iter().any(|text| text == PLACE), "a label that is the template's own word is a label");
    }

    #[test]
    fn every_text_reads_back() {
        let texts = ["", "plain", NASTY, "\u{1}\u{1f}\u{7f}\u{80}", "\\u003c", "</SCRIPT", "<!--<script>", "\u{10ffff}"];
        for text in texts {
            let mut out = String::new();
            write_text(&mut out, text);
            assert_eq!(json::texts(&out).as_deref(), Ok([text.to_owned()].as_slice()), "{out}");
        }
    }

    #[test]
    fn an_empty_run_and_an_odd_one_are_json() {
        for run in [Lanes::default(), odd()] {
            let page = run.page();
            assert!(json::texts(data_of(&page)).is_ok(), "{}", data_of(&page));
        }
        let page = odd().page();
        let arrows = data_of(&page).split_once("\"arrows\":").expect("there are arrows").1;
        let columns = format!("\"start\":[40,40,40],\"end\":[40,40,{MICROS_MAX}],\"kind\":[14,15,14],\"from\":[0,1,1],\"to\":[1,0,1]");
        let expected = format!("{{{columns},\"label\":[4,4,4]}}}}");
        assert_eq!(arrows, expected, "those to nowhere are left out, and none arrives before it was sent");
    }

    #[test]
    fn marks_and_arrows_are_in_the_order_of_time() {
        let mut run = odd();
        run.arrows = [30, 10, 20].map(|sent| Arrow { from: 0, sent, to: 1, arrived: None, label: String::new() }).into();
        let page = run.page();
        assert!(data_of(&page).contains("\"start\":[10,90],\"end\":[10,90],\"kind\":[13,12]"));
        assert!(data_of(&page).contains("\"arrows\":{\"start\":[10,20,30]"));
    }

    /// Checks in which rows spans go: of each row its spans, by where they begin.
    #[track_caller]
    fn stacks(spans: &[Span], expected: &[&[u64]]) {
        let found: Vec<Vec<u64>> = rows(spans).iter().map(|row| row.iter().map(|span| span.from).collect()).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn spans_that_overlap_go_to_rows() {
        let operation = |from, to| span(from, to, SpanKind::Operation);
        stacks(&[], &[]);
        stacks(&[operation(20, 30), operation(0, 10), operation(10, 20)], &[&[0, 10, 20]]);
        stacks(&[operation(0, 10), operation(5, 30), operation(10, 20), operation(25, 26)], &[&[0, 10, 25], &[5]]);
        stacks(&[operation(7, 7), operation(7, 3), operation(8, 9)], &[&[7, 8], &[7]]);
        stacks(&[span(0, 9, SpanKind::Cut), span(5, 9, SpanKind::Leads), span(1, 5, SpanKind::Follows)], &[&[1, 5], &[0]]);
    }

    #[test]
    fn rows_are_bounded() {
        let spans: Vec<Span> = (0..1_000).map(|from| span(from, 5_000 - from, SpanKind::Operation)).collect();
        let rows = rows(&spans);
        assert_eq!(rows.len(), ROWS_MAX);
        assert_eq!(rows.iter().map(Vec::len).sum::<usize>(), 1_000, "none is left out");
        assert!(rows.iter().all(|row| row.is_sorted_by_key(|span| span.from)));
    }

    /// Just enough of JSON to know whether a text is JSON, and which strings are in it.
    mod json {
        /// All strings of a JSON text but the names of members, in order; or what is left where it stops being JSON.
        pub(super) fn texts(json: &str) -> Result<Vec<String>, &str> {
            let mut texts = Vec::new();
            let rest = value(json, &mut texts)?;
            if rest.trim().is_empty() { Ok(texts) } else { Err(rest) }
        }

        fn value<'a>(json: &'a str, texts: &mut Vec<String>) -> Result<&'a str, &'a str> {
            let json = json.trim_start();
            match json.chars().next() {
                Some('{') => members(&json[1..], '}', texts),
                Some('[') => members(&json[1..], ']', texts),
                Some('"') => {
                    let (text, rest) = string(json)?;
                    texts.push(text);
                    Ok(rest)
                }
                _ => {
                    let rest = json.trim_start_matches(|c: char| c == '-' || c.is_ascii_digit());
                    let number = &json[..json.len() - rest.len()];
                    number.parse::<i64>().map(|_| rest).map_err(|_| json)
                }
            }
        }

        /// What stands between brackets, behind the opening one.
        fn members<'a>(json: &'a str, close: char, texts: &mut Vec<String>) -> Result<&'a str, &'a str> {
            if let Some(rest) = json.strip_prefix(close) {
                return Ok(rest);
            }
            let mut rest = json;
            loop {
                if close == '}' {
                    rest = string(rest.trim_start())?.1;
                    rest = rest.strip_prefix(':').ok_or(rest)?;
                }
                rest = value(rest, texts)?;
                match rest.strip_prefix(',') {
                    Some(more) => rest = more,
                    None => return rest.strip_prefix(close).ok_or(rest),
                }
            }
        }

        fn string(json: &str) -> Result<(String, &str), &str> {
            let mut text = String::new();
            let mut rest = json.strip_prefix('"').ok_or(json)?.chars();
            loop {
                let left = rest.as_str();
                match rest.next().ok_or(left)? {
                    '"' => return Ok((text, rest.as_str())),
                    '\\' => match rest.next().ok_or(left)? {
                        'u' => {
                            let digits = rest.as_str().get(..4).ok_or(left)?;
                            let code = u32::from_str_radix(digits, 16).map_err(|_| left)?;
                            text.push(char::from_u32(code).ok_or(left)?);
                            rest = rest.as_str()[4..].chars();
                        }
                        'n' => text.push('\n'),
                        escaped @ ('"' | '\\') => text.push(escaped),
                        _ => return Err(left),
                    },
                    '\0'..='\u{1f}' => return Err(left),
                    character => text.push(character),
                }
            }
        }
    }
}
