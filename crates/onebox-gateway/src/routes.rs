//! Which target an HTTP method and path mean. Our own matcher, because a segment may be `{variable}:verb`.
//!
//! A pure function of the route table: it reads no request but its method and path. Literal segments win over
//! `{variable}:verb`, and that over `{variable}`. A `:` inside a variable's value is written `%3A` where a route with
//! that verb exists.

use std::borrow::Cow;

use onebox_service::{MethodId, Schema, Verb};

use crate::limits::COMPARED_PATH_BYTES_MAX;
use crate::specs::SpecAsk;

/// What a route leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// A method of the schema; `body` says where its fields come from.
    Method { id: MethodId, body: bool },
    /// `GET /`
    Index,
    /// `GET /health/live`
    Live,
    /// `GET /health/ready`
    Ready,
    /// `POST /onebox/v1/tenants`
    CreateTenant,
    /// `GET /onebox/v1/requests/{id}`
    RequestOutcome,
    /// `GET /onebox/v1/specs` and `POST /onebox/v1/specs:run`
    Spec(SpecAsk),
}

/// The platform's own routes.
const PLATFORM: [(Verb, &str, Target); 5] = [
    (Verb::Get, "/", Target::Index),
    (Verb::Get, "/health/live", Target::Live),
    (Verb::Get, "/health/ready", Target::Ready),
    (Verb::Post, "/onebox/v1/tenants", Target::CreateTenant),
    (Verb::Get, "/onebox/v1/requests/{id}", Target::RequestOutcome),
];

/// The routes of a node that takes specs.
const SPECS: [(Verb, &str, Target); 2] =
    [(Verb::Get, "/onebox/v1/specs", Target::Spec(SpecAsk::About)), (Verb::Post, "/onebox/v1/specs:run", Target::Spec(SpecAsk::Run))];

/// The platform's routes of a node that takes specs, or does not.
pub(crate) fn platform(specs: bool) -> impl Iterator<Item = (Verb, &'static str, Target)> {
    PLATFORM.into_iter().chain(SPECS.into_iter().filter(move |_| specs))
}

/// A route that a request matched.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found<'p> {
    pub(crate) target: Target,
    /// The template, for example `/v1/locations/{location}:move`.
    pub(crate) template: &'static str,
    /// The path's variables, decoded.
    pub(crate) variables: Vec<(&'static str, Cow<'p, str>)>,
}

/// Why a request matched none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    /// No route has this path; this one, `VERB template`, is closest.
    UnknownPath { closest: String },
    /// The path is known, with these methods.
    WrongVerb { allow: String },
    /// A variable's value is not percent-encoded UTF-8.
    BadEscape { variable: &'static str },
}

/// Every route of a gateway, the most specific first.
#[derive(Debug)]
pub(crate) struct Routes {
    routes: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    verb: Verb,
    template: &'static str,
    segments: Vec<Segment>,
    target: Target,
}

#[derive(Debug, PartialEq, Eq)]
enum Segment {
    Literal(&'static str),
    /// `verb` is empty, or begins with a colon.
    Variable {
        name: &'static str,
        verb: &'static str,
    },
}

impl Routes {
    /// The platform's routes and the schema's.
    ///
    /// # Panics
    /// If a template is malformed or two routes are the same: a bug in the schema, for the build to refuse.
    pub(crate) fn new(schema: &'static Schema, specs: bool) -> Routes {
        let mut routes: Vec<Known> = platform(specs).map(|(verb, path, target)| known(verb, path, target)).collect();
        for (position, method) in schema.methods.iter().enumerate() {
            let id = MethodId(u16::try_from(position).expect("a schema has at most 65,535 methods"));
            routes.extend(method.routes.iter().map(|route| known(route.verb, route.path, Target::Method { id, body: route.body })));
        }
        for (position, route) in routes.iter().enumerate() {
            let twin = routes[..position].iter().find(|other| other.verb == route.verb && same_shape(&other.segments, &route.segments));
            let twin = twin.map(|twin| twin.template);
            assert!(twin.is_none(), "routes {} and {} match the same paths", route.template, twin.unwrap_or_default());
        }
        routes.sort_by_key(|route| route.segments.iter().map(rank).collect::<Vec<_>>());
        Routes { routes }
    }

    /// The route of a request. HEAD is answered like GET.
    pub(crate) fn find<'p>(&self, method: &http::Method, path: &'p str) -> Result<Found<'p>, Missed> {
        let mut matching = self.routes.iter().filter(|route| matches(&route.segments, path)).peekable();
        let Some(first) = matching.peek() else { return Err(Missed::UnknownPath { closest: self.closest(path) }) };
        let first: &Known = first;
        let wanted = verb_of(method);
        let mut candidates = matching.filter(|route| !hides(first, route));
        let Some(route) = candidates.find(|route| Some(route.verb) == wanted) else {
            return Err(Missed::WrongVerb { allow: self.allowed(first, path) });
        };
        let variables = variables(&route.segments, path)?;
        Ok(Found { target: route.target, template: route.template, variables })
    }

    fn allowed(&self, first: &Known, path: &str) -> String {
        let mut names: Vec<&str> = Vec::new();
        for route in self.routes.iter().filter(|route| matches(&route.segments, path) && !hides(first, route)) {
            let both: &[&str] = if route.verb == Verb::Get { &["GET", "HEAD"] } else { &[verb_name(route.verb)] };
            names.extend(both.iter().filter(|name| !names.contains(*name)).copied().collect::<Vec<_>>());
        }
        names.sort_unstable();
        names.join(", ")
    }

    fn closest(&self, path: &str) -> String {
        let end = (0..=path.len().min(COMPARED_PATH_BYTES_MAX)).rev().find(|&end| path.is_char_boundary(end)).unwrap_or(0);
        let asked: Vec<&str> = path[..end].trim_start_matches('/').split('/').collect();
        let route = self.routes.iter().min_by_key(|route| distance(&route.segments, &asked)).expect("the platform has routes");
        format!("{} {}", verb_name(route.verb), route.template)
    }
}

/// A verb as HTTP writes it.
pub(crate) fn verb_name(verb: Verb) -> &'static str {
    match verb {
        Verb::Get => "GET",
        Verb::Post => "POST",
        Verb::Put => "PUT",
        Verb::Patch => "PATCH",
        Verb::Delete => "DELETE",
    }
}

/// Decodes percent-encoding; `None` if it is broken or not UTF-8.
pub(crate) fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            decoded.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

fn verb_of(method: &http::Method) -> Option<Verb> {
    match method.as_str() {
        "GET" | "HEAD" => Some(Verb::Get),
        "POST" => Some(Verb::Post),
        "PUT" => Some(Verb::Put),
        "PATCH" => Some(Verb::Patch),
        "DELETE" => Some(Verb::Delete),
        _ => None,
    }
}

fn known(verb: Verb, template: &'static str, target: Target) -> Known {
    let path = template.strip_prefix('/').unwrap_or_else(|| panic!("route {template} does not start with /"));
    let segments = path.split('/').map(|text| segment(template, text)).collect();
    Known { verb, template, segments, target }
}

fn segment(template: &'static str, text: &'static str) -> Segment {
    let Some(rest) = text.strip_prefix('{') else {
        assert!(!text.contains(['{', '}']), "route {template}: a variable must begin its segment");
        return Segment::Literal(text);
    };
    let (name, verb) = rest.split_once('}').unwrap_or_else(|| panic!("route {template}: a variable is not closed"));
    assert!(!name.is_empty(), "route {template}: a variable has no name");
    assert!(verb.is_empty() || (verb.starts_with(':') && verb.len() > 1), "route {template}: {verb} after a variable is no :verb");
    Segment::Variable { name, verb }
}

fn rank(segment: &Segment) -> u8 {
    match segment {
        Segment::Literal(_) => 0,
        Segment::Variable { verb, .. } => 1 + u8::from(verb.is_empty()),
    }
}

fn same_shape(one: &[Segment], other: &[Segment]) -> bool {
    let same = |(one, other): (&Segment, &Segment)| match (one, other) {
        (Segment::Literal(one), Segment::Literal(other)) => one == other,
        (Segment::Variable { verb: one, .. }, Segment::Variable { verb: other, .. }) => one == other,
        (Segment::Literal(_), Segment::Variable { .. }) | (Segment::Variable { .. }, Segment::Literal(_)) => false,
    };
    one.len() == other.len() && one.iter().zip(other).all(same)
}

/// Whether `first`, through a `:verb`, takes this path away from `route`: `GET /v1/locations/5:move` asks for a move
/// with the wrong method, and does not ask for a location named `5:move`.
fn hides(first: &Known, route: &Known) -> bool {
    let hidden = |(first, other): (&Segment, &Segment)| match (first, other) {
        (Segment::Variable { verb: first, .. }, Segment::Variable { verb: other, .. }) => !first.is_empty() && other.is_empty(),
        (Segment::Literal(_), _) | (_, Segment::Literal(_)) => false,
    };
    first.segments.iter().zip(&route.segments).any(hidden)
}

fn matches(segments: &[Segment], path: &str) -> bool {
    let Some(path) = path.strip_prefix('/') else { return false };
    let mut parts = path.split('/');
    let all = segments.iter().all(|segment| match (segment, parts.next()) {
        (_, None) => false,
        (Segment::Literal(literal), Some(part)) => *literal == part,
        (Segment::Variable { verb, .. }, Some(part)) => part.len() > verb.len() && part.ends_with(verb),
    });
    all && parts.next().is_none()
}

fn variables<'p>(segments: &[Segment], path: &'p str) -> Result<Vec<(&'static str, Cow<'p, str>)>, Missed> {
    let mut variables = Vec::new();
    for (segment, part) in segments.iter().zip(path[1..].split('/')) {
        if let Segment::Variable { name, verb } = segment {
            let value = percent_decode(&part[..part.len() - verb.len()]).ok_or(Missed::BadEscape { variable: name })?;
            variables.push((*name, value));
        }
    }
    Ok(variables)
}

/// How far a path is from a template: edits in literals, and whole segments where one has more than the other.
fn distance(segments: &[Segment], asked: &[&str]) -> usize {
    let shared: usize = segments
        .iter()
        .zip(asked)
        .map(|(segment, part)| match segment {
            Segment::Literal(literal) => edits(literal, part),
            Segment::Variable { verb, .. } => usize::from(!part.ends_with(verb)),
        })
        .sum();
    let missing: usize = segments.iter().skip(asked.len()).map(|_| 4).sum();
    let surplus: usize = asked.iter().skip(segments.len()).map(|part| part.len().max(1)).sum();
    shared + missing + surplus
}

/// The Levenshtein distance, row by row.
fn edits(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (position, byte) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = position + 1;
        for (column, against) in other.bytes().enumerate() {
            let replaced = diagonal + usize::from(byte != against);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
