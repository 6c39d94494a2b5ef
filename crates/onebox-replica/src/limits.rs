//! Every bound of a replica, with its unit and the reason for its number. Nothing in the replica grows past these.

use onebox_service::Budget;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const SECOND: u64 = 1_000_000;
const HOUR: u64 = 3600 * SECOND;

/// The bounds that an operator may set. The defaults suit a machine with 4 GiB or more for one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sealed entries that wait for their sync. Two: one on the disk, one ready behind it.
    pub entries_in_flight_max: usize,
    /// Bytes at which the open entry is sealed. Large enough to amortise a sync over thousands of requests, small
    /// enough that writing it takes about a millisecond.
    pub entry_bytes_max: usize,
    /// Requests executed before the executor looks at its inputs again: about a millisecond of ordinary work. Requests at
    /// their budget make it longer, up to this many times a tenth of a second.
    pub turn_requests_max: usize,
    /// Requests that wait for execution. Past it callers are told to come back: a tenth of a second of work.
    pub queue_requests_max: usize,
    /// Bytes of the requests that wait.
    pub queue_bytes_max: usize,
    /// Reads that wait for a position that this replica has not reached.
    pub reads_waiting_max: usize,
    /// Answers without an effect that wait for the entries they were computed from. Past it execution waits too.
    pub held_answers_max: usize,
    /// Bytes of a request's encoding. Larger things belong in several requests.
    pub body_bytes_max: usize,
    /// Bytes of an encoded answer. Every retained answer may be this large.
    pub answer_bytes_max: usize,
    /// Bytes of rows not yet in the base. Past it execution waits for the flusher.
    pub dirty_bytes_max: usize,
    /// Bytes of log after the flushed position at which a flush is asked for. It bounds the restart.
    pub log_replay_bytes_max: u64,
    /// Free bytes of the disk below which writes are refused, until there is an eighth more: room for two segments and an ordinary
    /// flush. A flush that needs more is put off, and writes are refused until it has room.
    pub disk_free_min: u64,
    /// Tenants of a partition. Each costs a row; thousands are expected.
    pub tenants_max: u64,
    /// Sessions of a partition: gateways and batch streams, not users.
    pub sessions_max: u64,
    /// Microseconds after which an unused session expires.
    pub session_idle_max: u64,
    /// Answers that one session may leave unacknowledged. It bounds the answers kept for it.
    pub session_window_max: u64,
    /// Idempotency keys retained for one tenant. A full table refuses; nothing is forgotten early.
    pub idempotency_keys_max: u64,
    /// Microseconds for which an idempotency key and its answer are retained.
    pub idempotency_retention: u64,
    /// Bytes of entries in one message to a peer, unless a single one is larger. A quarter of the largest frame, if that is less.
    pub message_bytes_max: u64,
    /// Appends to one peer that are not confirmed yet.
    pub messages_in_flight_max: usize,
    /// Entries that are committed and that a majority has yet to apply, where answers wait for that: about a second of work.
    pub entries_unconfirmed_max: usize,
    /// Bytes of entries proposed and not committed, beyond what `entries_in_flight_max` already bounds.
    pub uncommitted_bytes_max: u64,
    /// Bytes of committed entries that the consensus hands over at once: bounds a turn while replaying.
    pub committed_bytes_per_turn: u64,
    /// Bytes of recent entries kept in memory for followers that are a little behind.
    pub tail_bytes_kept: usize,
    /// Bytes of rows in one piece of a snapshot.
    pub snapshot_piece_bytes: usize,
    /// Sealed segments whose rows are in the base that stay in `log/` for peers that lack their entries; older ones go to the
    /// history, and such a peer fetches a snapshot.
    pub log_segments_kept_max: usize,
    /// As many stay at a follower, which may lead next.
    pub log_segments_kept_by_followers: usize,
    /// What one writing request may use. A request at its budget holds the writer for about 100 ms.
    pub budget: Budget,
    /// What one read-only request may use. It runs beside the writer, so it may use more.
    pub query_budget: Budget,
}

/// Expired keys and sessions removed at the end of one entry at most, so that expiry never makes a long pause.
pub const EXPIRED_PER_ENTRY_MAX: usize = 256;
/// Requests of a session that are remembered as passed over by later ones. Of others it is looked up whether they took effect.
pub const PASSED_OVER_MAX: usize = 64;
/// Acknowledged answers after which a session's rows are trimmed. Trimming at each would double its writes.
pub const SESSION_TRIM_STEP: u64 = 64;
/// Members of a partition, learners included.
pub const MEMBERS_MAX: usize = 16;
/// Committed entries that a learner may lack and be given a vote.
pub const PROMOTION_LAG_MAX: u64 = 1_000;
/// Ticks for which a member's word of its build holds: less than it takes to install another.
pub const WORD_TICKS_MAX: u64 = 40;
/// Microseconds by which a member's clock may differ for its word to be taken for new: more than a message is on its way.
pub const WORD_MICROS_MAX: u64 = 2 * SECOND;
/// The least number of ticks without a leader after which a replica may campaign.
pub const ELECTION_TICKS_MIN: usize = 3;
/// Bytes that an entry's head and its last record have beside body, answer and events.
const ENTRY_OVERHEAD_BYTES: usize = MIB;
/// Bytes of a key: room for several names. Keys are held in memory and compared often.
pub const KEY_BYTES_MAX: u32 = 1024;
/// Microseconds by which a replica's clock may differ from that of the voters, by the one in the middle, for it to lead.
pub const CLOCK_SKEW_MAX: u64 = SECOND / 2;
/// Ticks for which the message that makes a peer's clock look latest stands for it; used for as many more, until another comes.
pub const CLOCK_KNOWN_TICKS: u64 = 40;
/// Microseconds that the wall clock may leap forward and log time still follows it, where no other clock is known to judge by. Where
/// others are known, log time goes by the one in the middle.
pub const CLOCK_JUMP_MAX: u64 = 60 * SECOND;

impl Limits {
    /// The most bytes that an entry can have: it was not quite full when its last and largest request came.
    pub fn entry_bytes_at_most(&self) -> usize {
        let record = self.body_bytes_max + self.answer_bytes_max + self.budget.bytes_max as usize;
        self.entry_bytes_max + record + ENTRY_OVERHEAD_BYTES
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            entries_in_flight_max: 2,
            entry_bytes_max: MIB,
            turn_requests_max: 256,
            queue_requests_max: 16 * KIB,
            queue_bytes_max: 64 * MIB,
            reads_waiting_max: 16 * KIB,
            held_answers_max: 16 * KIB,
            body_bytes_max: MIB,
            answer_bytes_max: 4 * MIB,
            dirty_bytes_max: 256 * MIB,
            log_replay_bytes_max: 512 * MIB as u64,
            disk_free_min: 640 * MIB as u64,
            tenants_max: 10_000,
            sessions_max: 4_096,
            session_idle_max: HOUR,
            session_window_max: 64 * KIB as u64,
            idempotency_keys_max: 10_000_000,
            idempotency_retention: 24 * HOUR,
            message_bytes_max: MIB as u64,
            messages_in_flight_max: 256,
            entries_unconfirmed_max: 1_024,
            uncommitted_bytes_max: 64 * MIB as u64,
            committed_bytes_per_turn: MIB as u64,
            tail_bytes_kept: 4 * MIB,
            snapshot_piece_bytes: 256 * KIB,
            log_segments_kept_max: 8,
            log_segments_kept_by_followers: 2,
            budget: Budget {
                rows_read_max: 50_000,
                rows_written_max: 50_000,
                scan_steps_max: 50_000,
                bytes_max: 16 * MIB as u32,
                events_max: 10_000,
                key_bytes_max: KEY_BYTES_MAX,
            },
            query_budget: Budget {
                rows_read_max: 200_000,
                rows_written_max: 0,
                scan_steps_max: 200_000,
                bytes_max: 32 * MIB as u32,
                events_max: 0,
                key_bytes_max: KEY_BYTES_MAX,
            },
        }
    }
}
