//! The verbs of a service's binary.

use std::fmt::Write as _;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use onebox_node::{Exit, SETTINGS, Settings, SpecAnswers, StartError};
use onebox_service::Service;
use onebox_simulator::Workload;
use tokio::signal::unix::{SignalKind, signal};

use crate::verbs::desk::SpecDesk;
use crate::verbs::simulate::NewWorkload;
use crate::{logging, verbs};

/// Runs the binary of a service: reads the command line and does what the verb says.
///
/// Exit codes: 0 for success, 1 for a failure that is explained on standard error, 2 for a command line that makes no
/// sense.
pub fn main(service: impl Service) -> ExitCode {
    run(Arc::new(service), None)
}

/// [`main`], with a workload for the verb `simulate`.
pub fn main_with<W: Workload + 'static>(service: impl Service, workload: impl Fn() -> W + Sync) -> ExitCode {
    run(Arc::new(service), Some(&|| Box::new(workload())))
}

fn run(service: Arc<dyn Service>, workload: Option<&NewWorkload<'_>>) -> ExitCode {
    let name = service.schema().name;
    let matches = command(name).get_matches();
    match matches.subcommand() {
        Some(("serve", arguments)) => serve(service, arguments),
        Some(("cluster", arguments)) => {
            tell(name, read_settings(None).and_then(|settings| verbs::cluster::run(&service, &settings, arguments)))
        }
        Some(("spec", arguments)) => tell(name, verbs::spec::run(&service, arguments)),
        Some(("explore", arguments)) => tell(name, verbs::explore::run(&service, arguments)),
        Some(("simulate", arguments)) => tell(name, verbs::simulate::run_verb(&service, workload, arguments)),
        Some(("schema", _)) => tell(name, verbs::schema::run(&service)),
        Some((verb, _)) => unreachable!("clap takes no verb {verb}"),
        None => unreachable!("clap demands a verb"),
    }
}

fn command(name: &'static str) -> Command {
    let serve = Command::new("serve")
        .about("Runs the service on this machine: HTTP/1.1, HTTP/2 and gRPC on one port")
        .arg(
            Arg::new("data")
                .long("data")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("The data directory [default: ./data]"),
        )
        .arg(Arg::new("listen").long("listen").value_name("ADDR").help("Address of the one port [default: 127.0.0.1:8080]"))
        .arg(
            Arg::new("peer-listen")
                .long("peer-listen")
                .value_name("ADDR")
                .help("Address for the other nodes of a cluster [default: alone]"),
        )
        .arg(Arg::new("join").long("join").value_name("ADDR").help("At the first start: peer address of a node of the cluster to join"))
        .arg(
            Arg::new("specs")
                .long("specs")
                .action(ArgAction::SetTrue)
                .help("Also runs specs that others send (onebox.spec.v1), on a state of their own that is forgotten"),
        )
        .arg(
            Arg::new("settings")
                .long("settings")
                .value_name("FILE")
                .env("ONEBOX_SETTINGS")
                .hide_env_values(true)
                .value_parser(value_parser!(PathBuf))
                .help("A TOML file of settings"),
        )
        .arg(Arg::new("stop-at-end-of-input").long("stop-at-end-of-input").action(ArgAction::SetTrue).hide(true))
        .after_help(settings_help());
    Command::new(name)
        .about(format!("The {name} service, in one box"))
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .after_help(settings_help())
        .subcommand(serve)
        .subcommand(verbs::cluster::command())
        .subcommand(verbs::spec::command())
        .subcommand(verbs::explore::command())
        .subcommand(verbs::simulate::command())
        .subcommand(
            Command::new("schema").about("Prints what can be asked, is recorded, refused and kept: methods, events, refusals, tables"),
        )
}

/// The exit code of a verb; what hindered it goes to standard error.
fn tell(name: &str, done: Result<ExitCode, String>) -> ExitCode {
    done.unwrap_or_else(|words| {
        eprintln!("{name}: {words}");
        ExitCode::FAILURE
    })
}

fn settings_help() -> String {
    let mut help = String::from(
        "Settings, from a TOML file, from a variable (ONEBOX_ and the name in capitals, dots as _), or a flag; the later wins:\n",
    );
    let width = SETTINGS.iter().map(|setting| setting.name.len()).max().unwrap_or(0);
    for setting in SETTINGS {
        let _ = write!(help, "\n  {:width$}  {} [{}]", setting.name, setting.about, setting.default_value());
    }
    help
}

fn serve(service: Arc<dyn Service>, arguments: &ArgMatches) -> ExitCode {
    let name = service.schema().name;
    let failed = |words: String| {
        tracing::error!("{words}");
        eprintln!("{name}: {words}");
        ExitCode::FAILURE
    };
    let settings = match read_settings(Some(arguments)) {
        Ok(settings) => settings,
        Err(words) => return failed(words),
    };
    if let Err(words) = logging::start(&settings) {
        return failed(words);
    }
    let specs = match arguments.get_flag("specs").then(|| SpecDesk::new(&service)).transpose() {
        Ok(specs) => specs.map(|desk| Arc::new(desk) as Arc<dyn SpecAnswers>),
        Err(fault) => return failed(fault.to_string()),
    };
    match onebox_node::serve(service, &settings, specs, stop_asked(arguments.get_flag("stop-at-end-of-input"))) {
        Ok(Exit::Stopped) => {
            tracing::info!("stopped; everything is flushed");
            ExitCode::SUCCESS
        }
        Ok(Exit::Reopen) => start_again(failed),
        Ok(Exit::Hurried) => {
            tracing::warn!("stopped before everything was flushed; nothing is lost, the next start replays more of the log");
            ExitCode::SUCCESS
        }
        Ok(Exit::Failed(stop)) => failed(format!("stopped, because it could not go on: {stop}. Nothing acknowledged is lost")),
        Ok(Exit::Panicked { thread }) => failed(format!(
            "stopped, because the thread {thread} panicked, which is a bug (the line above says where). Nothing acknowledged is lost"
        )),
        Err(error @ (StartError::Fault(_) | StartError::Other(_))) => failed(format!("cannot start: {error}")),
    }
}

/// The same process begins anew: a supervisor sees nothing of it.
fn start_again(failed: impl FnOnce(String) -> ExitCode) -> ExitCode {
    tracing::info!("starting again by itself, with what was fetched or without what was damaged");
    let mut arguments = std::env::args_os();
    let this = std::env::current_exe().ok().or_else(|| arguments.next().map(PathBuf::from)).unwrap_or_default();
    let error = std::process::Command::new(this).args(std::env::args_os().skip(1)).exec();
    failed(format!("cannot start again by itself: {error}. Start it again; nothing acknowledged is lost"))
}

/// The settings that a verb goes by: files and variables, and the flags of `serve`.
fn read_settings(arguments: Option<&ArgMatches>) -> Result<Settings, String> {
    let from_variable = std::env::var_os("ONEBOX_SETTINGS").map(PathBuf::from);
    let file = arguments.and_then(|arguments| arguments.get_one::<PathBuf>("settings")).or(from_variable.as_ref());
    let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut settings = Settings::read(file.map(PathBuf::as_path), variables).map_err(|error| error.to_string())?;
    let Some(arguments) = arguments else { return Ok(settings) };
    if let Some(data) = arguments.get_one::<PathBuf>("data") {
        settings.data.clone_from(data);
    }
    if let Some(listen) = arguments.get_one::<String>("listen") {
        settings.listen = listen.parse().map_err(|_| format!("--listen {listen:?} is not an address like 127.0.0.1:8080"))?;
    }
    for (name, setting) in [("peer-listen", &mut settings.peer_listen), ("join", &mut settings.join)] {
        if let Some(given) = arguments.get_one::<String>(name) {
            setting.clone_from(given);
        }
    }
    Ok(settings)
}

/// Completes when the process is asked to stop.
async fn stop_asked(at_end_of_input: bool) {
    if !at_end_of_input {
        return stop_signal().await;
    }
    let (told, ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // Whatever is said is of no interest, only that nobody can say anything any more.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = told.send(());
    });
    tokio::select! {
        () = stop_signal() => {}
        _ = ended => {}
    }
}

/// Completes at SIGTERM, or Ctrl-C.
pub(crate) async fn stop_signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::warn!("signals cannot be received; end the process with kill -9, which loses nothing");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
