//! SIGTERM under load: what was taken is finished, what was not changed nothing, and the next start has nothing to replay.

use crate::load::Load;
use crate::scratch::Scratch;
use crate::server::Server;
use crate::turn;

const WORKERS: usize = 12;
const ANSWERS: u64 = 1_500;

#[test]
fn a_stop_under_load_finishes_what_it_took_and_leaves_nothing_to_replay() {
    let _turn = turn();
    let scratch = Scratch::new("terminate");
    let data = scratch.join("data");
    let server = Server::start(&data, &[]);
    let mut load = Load::new(&server, WORKERS, 7);
    load.run(server, ANSWERS, |server| {
        server.terminate();
        let (code, log) = server.exit();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("stopped; everything is flushed"), "{log}");
    });

    let server = Server::start(&data, &[]);
    let opened = server.await_line("\"to_apply\"");
    // The one entry is the one with which the new start begins its term.
    assert!(opened.contains("\"to_apply\":1}"), "after a planned stop there was something to replay: {opened}");
    let reckoning = load.reckon(server.address());
    assert_eq!(reckoning.took_effect, 0, "a request that took effect was not answered by a planned stop: {reckoning:?}");
    eprintln!(
        "SIGTERM: {} requests acknowledged, {} sent after the stop and not taken, {} first answers given again; restart {:.0} ms",
        load.acknowledged(),
        reckoning.open,
        reckoning.repeated,
        server.ready_after.as_secs_f64() * 1000.0,
    );
    server.stop();
}

#[test]
fn a_stop_during_the_start_is_one_too() {
    let scratch = Scratch::new("terminate-start");
    let data = scratch.join("data");
    for _ in 0..5 {
        let server = Server::spawn(&data, "127.0.0.1:0", &[]);
        server.await_line("\"to_apply\"");
        server.terminate();
        let (code, log) = server.exit();
        assert_eq!(code, Some(0), "{log}");
    }
    Server::start(&data, &[]).stop();
}
