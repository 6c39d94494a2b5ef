//! HTTP routes: path templates of literals and `{variable}` segments, with an optional `:verb` at the end.
//!
//! No two routes may match the same requests. The gateway has the matcher; this file refuses what it cannot match.

use std::collections::BTreeMap;

use prost_reflect::MethodDescriptor;

use super::{Method, Route, Verb, is_scalar, is_singular, reaches_secret};
use crate::SchemaError;
use crate::options::{self, HttpRule};
use crate::place::Place;

/// Where the platform's own routes stand.
const PREFIXES_TAKEN: [&str; 2] = ["onebox", "health"];

/// The routes of a method, the additional bindings after the first.
pub(crate) fn read(method: &MethodDescriptor, read_only: bool) -> Result<Vec<Route>, SchemaError> {
    let Some(rule) = options::http(method) else { return Ok(Vec::new()) };
    let wrong = |words: String| method.wrong_option(options::HTTP, format!("route of {}: {words}", method.name()));
    let mut routes = vec![read_rule(method, &rule, read_only).map_err(wrong)?];
    for additional in &rule.additional_bindings {
        if !additional.additional_bindings.is_empty() {
            return Err(wrong("additional_bindings cannot have additional_bindings of their own; put them side by side".to_owned()));
        }
        routes.push(read_rule(method, additional, read_only).map_err(wrong)?);
    }
    Ok(routes)
}

fn read_rule(method: &MethodDescriptor, rule: &HttpRule, read_only: bool) -> Result<Route, String> {
    let patterns = [
        (Verb::Get, &rule.get),
        (Verb::Post, &rule.post),
        (Verb::Put, &rule.put),
        (Verb::Patch, &rule.patch),
        (Verb::Delete, &rule.delete),
    ];
    let mut given = patterns.into_iter().filter_map(|(verb, path)| Some((verb, path.as_ref()?)));
    let Some((verb, path)) = given.next() else {
        return Err("it names no path; write one of get, post, put, patch, delete, for example `get: \"/v1/locations\"`".to_owned());
    };
    if !rule.selector.is_empty() || !rule.response_body.is_empty() {
        return Err("`selector` and `response_body` have no meaning here; leave them out".to_owned());
    }
    let body = match rule.body.as_str() {
        "" => false,
        "*" => true,
        other => return Err(format!("body is \"{other}\"; the body is the whole request, `body: \"*\"`, or there is none")),
    };
    match (verb, body) {
        (Verb::Get, true) => return Err("a get has no body; leave `body` out, and the fields come as query parameters".to_owned()),
        (Verb::Get, false) if !read_only => {
            return Err(
                "a get must change nothing; mark the method `option (onebox.method) = { read_only: true };`, or use post".to_owned()
            );
        }
        (Verb::Get | Verb::Post | Verb::Put | Verb::Patch | Verb::Delete, _) => {}
    }
    check_path(method, path)?;
    if !body && reaches_secret(&method.input()) {
        return Err(format!(
            "{} has a secret, which must not stand in a URL, where others read it; use post with `body: \"*\"`",
            method.input().name()
        ));
    }
    Ok(Route { verb, path: path.clone(), body })
}

fn check_path(method: &MethodDescriptor, path: &str) -> Result<(), String> {
    let Some(inside) = path.strip_prefix('/') else {
        return Err(format!("the path `{path}` does not start with `/`; write `/{path}`"));
    };
    let (segments, action) = split_action(inside);
    let segments: Vec<&str> = segments.split('/').collect();
    if PREFIXES_TAKEN.contains(&segments[0]) {
        return Err(format!("paths under `/{}` belong to the platform; choose another", segments[0]));
    }
    let mut variables: Vec<&str> = Vec::new();
    for segment in segments {
        match segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}')) {
            None => check_literal(path, segment)?,
            Some(name) => {
                check_variable(method, path, name)?;
                if variables.contains(&name) {
                    return Err(format!("the path `{path}` has the variable {{{name}}} twice"));
                }
                variables.push(name);
            }
        }
    }
    action.map_or(Ok(()), |action| check_literal(path, action))
}

/// Cuts `:verb` off the end.
fn split_action(path: &str) -> (&str, Option<&str>) {
    let last = path.rfind('/').map_or(0, |slash| slash + 1);
    match path[last..].find(':') {
        None => (path, None),
        Some(colon) => (&path[..last + colon], Some(&path[last + colon + 1..])),
    }
}

fn check_literal(path: &str, literal: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    if literal.is_empty() {
        return Err(format!("the path `{path}` has an empty part; remove the extra `/` or `:`"));
    }
    if !literal.bytes().all(plain) || literal.bytes().all(|byte| byte == b'.') {
        return Err(format!(
            "the path `{path}` has the part `{literal}`; a part is letters, digits, `-`, `_`, `.`, `~`, or one {{variable}}"
        ));
    }
    Ok(())
}

fn check_variable(method: &MethodDescriptor, path: &str, name: &str) -> Result<(), String> {
    let request = method.input();
    if name.contains(['=', '*', '.']) {
        return Err(format!(
            "the path `{path}` has the variable {{{name}}}; a variable is the plain name of a field of {}",
            request.name()
        ));
    }
    let Some(field) = request.fields().find(|field| field.name() == name) else {
        return Err(format!("the path `{path}` has the variable {{{name}}}, but {} has no field `{name}`", request.name()));
    };
    if !is_scalar(&field) || !is_singular(&field) {
        return Err(format!(
            "the path `{path}` has the variable {{{name}}}, but `{name}` of {} is not a single number, bool, string, bytes or enum",
            request.name()
        ));
    }
    if options::field(&field).secret {
        return Err(format!("the path `{path}` has the variable {{{name}}}, which is secret; others read URLs, so leave it to the body"));
    }
    Ok(())
}

/// Refuses two routes that match the same requests.
pub(crate) fn check_distinct(methods: &[Method]) -> Result<(), SchemaError> {
    let mut seen: BTreeMap<(Verb, String), &Method> = BTreeMap::new();
    for method in methods {
        for route in &method.routes {
            if let Some(other) = seen.insert((route.verb, shape(&route.path)), method) {
                return Err(method.descriptor.wrong_option(
                    options::HTTP,
                    format!(
                        "route of {}: `{}` matches the same requests as a route of {}; change one of the paths",
                        method.descriptor.name(),
                        route.path,
                        other.descriptor.name()
                    ),
                ));
            }
        }
    }
    Ok(())
}

/// The path with the names of its variables removed.
fn shape(path: &str) -> String {
    let mut shape = String::new();
    let mut inside = false;
    for character in path.chars() {
        inside = (inside || character == '{') && character != '}';
        if !inside || character == '{' {
            shape.push(character);
        }
    }
    shape
}
