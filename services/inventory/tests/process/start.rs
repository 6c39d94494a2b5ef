//! Starts that must fail say why, name what is in the way, and exit with 1; the help lists every setting.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use crate::client::Ask;
use crate::scratch::{Scratch, names_in};
use crate::server::{Server, command};

#[test]
fn a_second_process_on_the_same_data_is_told_who_holds_it() {
    let scratch = Scratch::new("holder");
    let data = scratch.join("data");
    let server = Server::start(&data, &[]);
    let (code, words) = Server::spawn(&data, "127.0.0.1:0", &[]).exit();
    assert_eq!(code, Some(1), "{words}");
    for named in [data.to_string_lossy().as_ref(), &format!("process {} ", server.pid()), &server.address().to_string()] {
        assert!(words.contains(named), "{named:?} is not named: {words}");
    }
    assert_eq!(server.connect().ask(&Ask::get("/health/live")).status, 200);
    server.stop();
    // The holder is gone, so its claim is.
    Server::start(&data, &[]).stop();
}

#[test]
fn a_busy_port_is_named() {
    let scratch = Scratch::new("port");
    let holder = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = holder.local_addr().expect("a listener has an address").to_string();
    let (code, words) = Server::spawn(&scratch.join("data"), &address, &[]).exit();
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains(&address) && words.contains("--listen"), "{words}");
    assert_eq!(names_in(&scratch.join("data/log")), [""; 0], "a node that cannot listen writes no log");
}

#[test]
fn bad_settings_are_named() {
    let scratch = Scratch::new("settings");
    let data = scratch.join("data");
    let file = scratch.join("settings.toml");
    let file_name = file.to_string_lossy().into_owned();
    check(&data, &[("ONEBOX_COLOUR", "red")], None, &["ONEBOX_COLOUR", "--help"]);
    check(&data, &[("ONEBOX_QUERY_THREADS", "many")], None, &["query_threads"]);
    check(&data, &[("ONEBOX_SEGMENT_BYTES", "100")], None, &["segment_bytes", "100"]);
    check(&data, &[("ONEBOX_LOG_FORMAT", "runes")], None, &["log_format", "runes"]);
    check(&data, &[("ONEBOX_LOG_LEVEL", "a=b=c")], None, &["log_level"]);
    check(&data, &[("ONEBOX_GATEWAY_CALLS_IN_FLIGHT_MAX", "0")], None, &["calls_in_flight_max"]);
    check(&data, &[("ONEBOX_SETTINGS", &file_name)], None, &[&file_name]);
    check(&data, &[], Some("colour = \"red\""), &["colour"]);
    check(&data, &[], Some("[gateway]\nconections_max = 5"), &["conections_max"]);
    check(&data, &[], Some("disk_free_min = \"much\""), &["disk_free_min"]);
    check(&data, &[], Some("listen = ["), &["settings.toml", "line 1"]);
    check(&data, &[("ONEBOX_DISK_FREE_MIN", "plenty")], Some("disk_free_min = 5"), &["disk_free_min"]);
    assert!(!data.exists(), "a start with bad settings makes no data directory");
}

/// A start that must fail with these words, with settings from variables and a file.
fn check(data: &Path, variables: &[(&str, &str)], toml: Option<&str>, words: &[&str]) {
    let mut command = command(variables);
    command.arg("serve").arg("--data").arg(data).args(["--listen", "127.0.0.1:0"]);
    let file = data.with_file_name("settings.toml");
    if let Some(toml) = toml {
        fs::write(&file, toml).expect("a settings file can be written");
        command.arg("--settings").arg(&file);
    }
    let output = command.output().expect("the binary can be started");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{variables:?} {toml:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{variables:?} {toml:?}: {word:?} is not named: {said}");
    }
    if toml.is_some() {
        fs::remove_file(&file).expect("the settings file is there");
    }
}

#[test]
fn a_settings_file_is_obeyed_and_a_variable_wins_over_it() {
    let scratch = Scratch::new("file");
    let (file, data) = (scratch.join("settings.toml"), scratch.join("data"));
    fs::write(&file, "[gateway]\nbody_bytes_max = 100\n").expect("a settings file can be written");
    let file = file.to_string_lossy().into_owned();
    let status = |settings: &[(&str, &str)]| {
        let server = Server::start(&data, settings);
        let status = server.connect().ask(&Ask::post_text("/v1/products", format!("{{\"skus\":[]}}{}", " ".repeat(200)))).status;
        server.stop();
        status
    };
    assert_eq!(status(&[("ONEBOX_SETTINGS", &file)]), 413);
    assert_eq!(status(&[("ONEBOX_SETTINGS", &file), ("ONEBOX_GATEWAY_BODY_BYTES_MAX", "1000")]), 400);
}

#[test]
fn help_lists_every_setting() {
    for arguments in [&["--help"][..], &["serve", "--help"]] {
        let Output { status, stdout, .. } = command(&[]).args(arguments).output().expect("the binary can be started");
        let help = String::from_utf8_lossy(&stdout);
        assert_eq!(status.code(), Some(0), "{help}");
        let settings = help.split_once("Settings").map_or("", |(_, settings)| settings);
        for name in SETTINGS {
            assert!(
                settings.lines().any(|line| line.trim_start().split(' ').next() == Some(name)),
                "{arguments:?} does not explain {name}:\n{help}"
            );
        }
    }
}

#[test]
fn a_command_line_without_sense_exits_with_2() {
    for arguments in [&["serv"][..], &["serve", "--colour", "red"], &[]] {
        let output = command(&[]).args(arguments).output().expect("the binary can be started");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

/// What operators rely on by name. A new setting comes here too: a name, once given, stays.
const SETTINGS: [&str; 28] = [
    "confirm",
    "gateway.answers_in_flight_bytes_max",
    "data",
    "listen",
    "log_format",
    "log_level",
    "network_threads",
    "query_threads",
    "segment_bytes",
    "cache_bytes",
    "flush_bytes",
    "dirty_bytes_max",
    "log_replay_bytes_max",
    "disk_free_min",
    "queue_requests_max",
    "queue_bytes_max",
    "tenants_max",
    "idempotency_keys_max",
    "idempotency_retention_seconds",
    "gateway.body_bytes_max",
    "gateway.bodies_in_flight_bytes_max",
    "gateway.calls_in_flight_max",
    "gateway.connections_max",
    "gateway.streams_per_connection_max",
    "gateway.request_timeout_default_ms",
    "gateway.request_timeout_max_ms",
    "gateway.connection_idle_ms_max",
    "gateway.drain_ms_max",
];
