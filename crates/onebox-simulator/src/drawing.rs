//! A run's timeline as lanes to look at.

use std::collections::BTreeMap;

use crate::lanes::{Arrow, Lane, Lanes, Mark, MarkKind, Span, SpanKind};
use crate::timeline::{Line, Place, What};
use crate::world::Report;

/// The page of a run that was traced; `replay` is the command that runs it again.
pub fn page(title: &str, replay: &str, report: &Report) -> String {
    let lines = &report.timeline.lines;
    let clients = lines.iter().filter_map(|line| if let Place::Gateway(gateway) = line.place { Some(gateway + 1) } else { None }).max();
    let machines = (0..report.machines).map(|number| Lane { name: format!("machine {number}"), ..Lane::default() });
    let gateways = (0..clients.unwrap_or(0)).map(|number| Lane { name: format!("gateway {number}"), ..Lane::default() });
    let world = Lane { name: "world".to_owned(), ..Lane::default() };
    let mut drawing = Drawing {
        lanes: Lanes {
            title: title.to_owned(),
            about: format!("{}\n`{replay}`", report.verdict),
            micros: report.micros,
            lanes: machines.chain(gateways).chain([world]).collect(),
            arrows: Vec::new(),
        },
        machines: report.machines,
        leads: BTreeMap::new(),
        down: vec![None; report.machines],
    };
    for line in lines {
        drawing.line(line);
    }
    for machine in 0..report.machines {
        drawing.end_leads(machine, report.micros);
        drawing.end_down(machine, report.micros);
    }
    drawing.lanes.page()
}

struct Drawing {
    lanes: Lanes,
    machines: usize,
    /// Which machine leads which partition: since when, and in which term.
    leads: BTreeMap<(usize, usize), (u64, String)>,
    /// Since when it is down, and why.
    down: Vec<Option<(u64, String)>>,
}

impl Drawing {
    fn lane(&self, place: Place) -> usize {
        match place {
            Place::Machine(machine) | Place::Replica(machine, _) => machine,
            Place::Gateway(gateway) => self.machines + gateway,
            Place::World => self.lanes.lanes.len() - 1,
        }
    }

    fn line(&mut self, line: &Line) {
        let (at, lane) = (line.at, self.lane(line.place));
        let mark = |kind, label: String| Mark { at, kind, label };
        match &line.what {
            What::Up => {
                self.end_down(lane, at);
                self.lanes.lanes[lane].marks.push(mark(MarkKind::Start, "started".to_owned()));
            }
            What::Down(why) => self.goes_down(lane, at, why),
            What::Stopped(why) => self.goes_down(lane, at, why),
            What::Wiped => {
                self.goes_down(lane, at, "its disk was replaced");
                self.lanes.lanes[lane].marks.push(mark(MarkKind::Crash, "an empty disk".to_owned()));
            }
            What::Leads(..) => {
                let (partition, label) = match line.place {
                    Place::Replica(_, partition) => (partition, format!("partition {partition} {}", line.what)),
                    Place::Machine(_) | Place::Gateway(_) | Place::World => (0, line.what.to_string()),
                };
                for machine in 0..self.machines {
                    self.end_lead((machine, partition), at);
                }
                self.leads.insert((lane, partition), (at, label));
            }
            What::Sent { to, arrives, words } => {
                self.lanes.arrows.push(Arrow { from: lane, sent: at, to: *to, arrived: *arrives, label: words.clone() });
            }
            What::Strike { lasts, words, .. } => {
                self.lanes.lanes[lane].marks.push(mark(MarkKind::Fault, words.clone()));
                let kind = if words.contains("pause") {
                    SpanKind::Paused
                } else if words.contains("slow") {
                    SpanKind::Slow
                } else {
                    SpanKind::Cut
                };
                if ["pause", "slow", "isolate", "cut", "clogged"].iter().any(|name| words.contains(name)) {
                    self.lanes.lanes[lane].spans.push(Span { from: at, to: at + lasts, kind, label: words.clone() });
                }
            }
            What::Relief(_) => {}
            What::Operation { invoked, ended } => {
                let kind = match *ended {
                    "done" => SpanKind::Operation,
                    "refused" => SpanKind::Refused,
                    _ => SpanKind::Unknown,
                };
                self.lanes.lanes[lane].spans.push(Span { from: *invoked, to: at, kind, label: (*ended).to_owned() });
            }
            What::Broken(words) => self.lanes.lanes[lane].marks.push(mark(MarkKind::Broken, words.clone())),
            What::Note(words) => self.lanes.lanes[lane].marks.push(mark(MarkKind::Other, words.clone())),
        }
    }

    fn goes_down(&mut self, machine: usize, at: u64, why: &str) {
        self.end_leads(machine, at);
        if machine < self.machines && self.down[machine].is_none() {
            self.down[machine] = Some((at, why.to_owned()));
            self.lanes.lanes[machine].marks.push(Mark { at, kind: MarkKind::Crash, label: why.to_owned() });
        }
    }

    fn end_leads(&mut self, machine: usize, at: u64) {
        let led: Vec<_> = self.leads.keys().filter(|(leader, _)| *leader == machine).copied().collect();
        led.into_iter().for_each(|place| self.end_lead(place, at));
    }

    fn end_lead(&mut self, place: (usize, usize), at: u64) {
        if let Some((from, label)) = self.leads.remove(&place) {
            self.lanes.lanes[place.0].spans.push(Span { from, to: at, kind: SpanKind::Leads, label });
        }
    }

    fn end_down(&mut self, machine: usize, at: u64) {
        if let Some((from, label)) = self.down.get_mut(machine).and_then(Option::take) {
            self.lanes.lanes[machine].spans.push(Span { from, to: at, kind: SpanKind::Down, label });
        }
    }
}
