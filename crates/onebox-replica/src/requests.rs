//! The request table: sessions, the answers kept for them, idempotency keys and tenants, as rows of the keyspace.
//!
//! It keeps promise 2: each request takes effect at most once. Every write here is a function of the rows and of the
//! entry alone, because leader and follower must write the same; what is cached beside the rows only spares reads.
//!
//! Answers to sessions are written once per entry, one row per session, so that a busy session costs little; a row
//! goes when the session has acknowledged all in it. Layouts are in FORMAT.md.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use onebox_service::attempt::{Fate, RequestId, SessionId};
use onebox_service::buggify::buggify;
use onebox_service::keyspace::{self, PLATFORM_TABLE};
use onebox_service::planted::planted;
use onebox_service::{Code, Fault, Key, Keyspace, KeyspaceMut, Refusal, TenantId, Time};

use crate::limits::{EXPIRED_PER_ENTRY_MAX, Limits, PASSED_OVER_MAX, SESSION_TRIM_STEP};
use crate::rows::{AnswerRow, KeyRow, SessionRow};

/// Indexes of the platform's table in the platform's tenant.
mod index {
    pub(super) const TENANT: u32 = 1;
    pub(super) const SESSION: u32 = 2;
    pub(super) const ANSWERS: u32 = 3;
    pub(super) const SESSION_EXPIRY: u32 = 4;
    pub(super) const KEY_EXPIRY: u32 = 5;
    pub(super) const COUNTER: u32 = 6;
    /// 7 is the version of the service's apply.
    pub(super) const PLACEMENT: u32 = 8;
}

/// Indexes of the platform's table in every other tenant; 0 is the id counter.
mod tenant_index {
    pub(super) const KEY: u32 = 1;
    pub(super) const KEY_COUNT: u32 = 2;
}

/// The rows under [`index::COUNTER`].
#[derive(Debug, Clone, Copy)]
enum Counter {
    TenantLast = 0,
    SessionLast = 1,
    SessionsOpen = 2,
    TenantsPlaced = 3,
}

/// What the table knows of a request that arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    /// It has not taken effect.
    Fresh,
    /// It took effect; this was the answer.
    Answered(AnswerRow),
    /// Its answer was acknowledged.
    Forgotten,
    /// Its session is closed or expired, or never was.
    SessionGone,
    /// Its session has too many unacknowledged requests.
    WindowFull,
}

/// What the table knows of an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KnownKey {
    Fresh,
    Answered(Vec<u8>),
    OtherRequest,
    TableFull,
}

/// The name of the method of what was withdrawn: no service has a method of this name.
pub(crate) const WITHDRAWN: &str = "onebox.Withdraw";

/// How long things are kept. Logged with each entry, so that a changed setting does not change what was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Microseconds after which an unused session expires.
    pub session_idle: u64,
    /// Microseconds for which an idempotency key is retained.
    pub idempotency: u64,
}

/// One request that took effect, to be remembered.
#[derive(Debug)]
pub(crate) struct Effect<'r> {
    pub(crate) session: u64,
    pub(crate) sequence: u64,
    pub(crate) acknowledged_below: u64,
    pub(crate) method: &'r str,
    pub(crate) answer: &'r [u8],
}

/// The request table of one replica.
#[derive(Debug)]
pub(crate) struct Requests {
    limits: Limits,
    /// Sessions seen since the cache was last dropped.
    sessions: BTreeMap<u64, Session>,
    /// What the open entry (or the entry being applied) adds.
    entry: BTreeMap<u64, Added>,
    /// No key expires before this.
    keys_not_before: Time,
    /// No session expires before this.
    sessions_not_before: Time,
}

#[derive(Debug)]
struct Session {
    row: SessionRow,
    /// No request above this has taken effect. A bound, so it need not follow an undo.
    highest: u64,
    /// Some of those below it that have not taken effect: passed over by others, which come in another order over a network.
    passed_over: BTreeSet<u64>,
}

impl Session {
    /// The newest are kept: they are on their way, where of the older ones most were refused.
    fn forget_old_gaps(&mut self) {
        while self.passed_over.len() > PASSED_OVER_MAX {
            self.passed_over.pop_first();
        }
    }
}

#[derive(Debug, Default)]
struct Added {
    acknowledged_below: u64,
    first: u64,
    answers: Vec<u8>,
}

impl Requests {
    pub(crate) fn new(limits: Limits) -> Requests {
        Requests { limits, sessions: BTreeMap::new(), entry: BTreeMap::new(), keys_not_before: Time(0), sessions_not_before: Time(0) }
    }

    /// Forgets what is not in rows: after an undo.
    pub(crate) fn forget_cache(&mut self) {
        self.sessions.clear();
        self.entry.clear();
        self.keys_not_before = Time(0);
        self.sessions_not_before = Time(0);
    }

    /// Writes a new tenant and gives its number; `None` if there is no room for another.
    pub(crate) fn create_tenant(&self, space: &mut dyn KeyspaceMut, name: &str) -> Result<Option<TenantId>, Fault> {
        let last = read_counter(space, Counter::TenantLast)?.max(TenantId::DEFAULT.0);
        if last >= self.limits.tenants_max {
            return Ok(None);
        }
        apply_tenant(space, name, TenantId(last + 1))?;
        Ok(Some(TenantId(last + 1)))
    }

    /// Writes that a tenant is of another partition; gives `false` if there is no room for another.
    pub(crate) fn place_tenant(&self, space: &mut dyn KeyspaceMut, name: &str, partition: u32) -> Result<bool, Fault> {
        let has_room = read_counter(space, Counter::TenantsPlaced)? < self.limits.tenants_max;
        if has_room {
            apply_placement(space, name, partition)?;
        }
        Ok(has_room)
    }

    /// Writes a new session and gives its number; `None` if there is no room for another.
    pub(crate) fn open_session(
        &mut self,
        space: &mut dyn KeyspaceMut,
        now: Time,
        retention: Retention,
    ) -> Result<Option<SessionId>, Fault> {
        let open = read_counter(space, Counter::SessionsOpen)?;
        if open >= self.limits.sessions_max && open - self.sessions_leaving(space, now)? >= self.limits.sessions_max {
            return Ok(None);
        }
        let session = SessionId(read_counter(space, Counter::SessionLast)? + 1);
        self.apply_session(space, session, now, retention)?;
        Ok(Some(session))
    }

    /// Writes a session that an entry opened.
    pub(crate) fn apply_session(
        &mut self,
        space: &mut dyn KeyspaceMut,
        session: SessionId,
        now: Time,
        retention: Retention,
    ) -> Result<(), Fault> {
        let expires = now.plus_micros(retention.session_idle);
        let row = SessionRow { acknowledged_below: 0, answers_from: 0, expires };
        put(space, TenantId::PLATFORM, index::SESSION, &session.0, &row.encode())?;
        put(space, TenantId::PLATFORM, index::SESSION_EXPIRY, &(expires.0, session.0), &[])?;
        let open = read_counter(space, Counter::SessionsOpen)?;
        write_counter(space, Counter::SessionLast, session.0)?;
        write_counter(space, Counter::SessionsOpen, open + 1)?;
        self.sessions_not_before = self.sessions_not_before.min(expires);
        self.sessions.insert(session.0, Session { row, highest: 0, passed_over: BTreeSet::new() });
        Ok(())
    }

    /// What is known of a request at log time `now`.
    pub(crate) fn known(&mut self, space: &dyn Keyspace, id: RequestId, acknowledged_below: u64, now: Time) -> Result<Known, Fault> {
        let window_max = self.limits.session_window_max;
        if planted("the request table is not asked") {
            return Ok(Known::Fresh);
        }
        if buggify("sessions are read again", 64) {
            self.sessions.clear();
        }
        let Some(session) = self.session(space, id.session.0)? else { return Ok(Known::SessionGone) };
        if session.row.expires <= now {
            return Ok(Known::SessionGone);
        }
        if id.sequence.0 < session.row.acknowledged_below {
            return Ok(Known::Forgotten);
        }
        let known_below = session.row.acknowledged_below.max(acknowledged_below);
        if id.sequence.0 >= known_below.saturating_add(window_max) {
            return Ok(Known::WindowFull);
        }
        let answers_from = session.row.answers_from;
        if id.sequence.0 > session.highest || session.passed_over.contains(&id.sequence.0) {
            return Ok(Known::Fresh);
        }
        if let Some(added) = self.entry.get(&id.session.0)
            && let Some(answer) = AnswerRow::find(&added.answers, id.sequence.0)
        {
            return Ok(Known::Answered(answer));
        }
        let found = find_answer(space, id, answers_from)?;
        Ok(found.map_or(Known::Fresh, Known::Answered))
    }

    /// What became of a request, as of log time `now`.
    pub(crate) fn fate(&mut self, space: &dyn Keyspace, id: RequestId, now: Time) -> Result<Fate, Fault> {
        Ok(match self.known(space, id, u64::MAX - self.limits.session_window_max, now)? {
            Known::Answered(answer) if answer.method == WITHDRAWN => Fate::NoEffect,
            Known::Answered(answer) => Fate::TookEffect { method: answer.method, response: answer.answer },
            Known::Forgotten | Known::SessionGone => Fate::Forgotten,
            Known::Fresh | Known::WindowFull if now <= id.not_after => Fate::Pending,
            Known::Fresh | Known::WindowFull => Fate::NoEffect,
        })
    }

    /// What is known of an idempotency key.
    pub(crate) fn known_key(
        &self,
        space: &dyn Keyspace,
        tenant: TenantId,
        key: &str,
        fingerprint: u128,
        now: Time,
    ) -> Result<KnownKey, Fault> {
        if planted("a key is not asked for") {
            return Ok(KnownKey::Fresh);
        }
        if let Some(row) = read_key(space, tenant, key)?.filter(|row| row.expires > now) {
            let same = row.fingerprint == fingerprint;
            return Ok(if same { KnownKey::Answered(row.answer) } else { KnownKey::OtherRequest });
        }
        let (count, max) = (read_number(space, tenant, tenant_index::KEY_COUNT, &())?.unwrap_or(0), self.limits.idempotency_keys_max);
        let full = count >= max && count - self.keys_leaving(space, tenant, now)? >= max;
        Ok(if full { KnownKey::TableFull } else { KnownKey::Fresh })
    }

    /// Remembers the answer to an idempotency key, for leader and follower alike.
    pub(crate) fn remember_key(
        &mut self,
        space: &mut dyn KeyspaceMut,
        (tenant, key): (TenantId, &str),
        fingerprint: u128,
        answer: &[u8],
        (now, retention): (Time, Retention),
    ) -> Result<(), Fault> {
        match read_key(space, tenant, key)? {
            Some(old) => delete(space, TenantId::PLATFORM, index::KEY_EXPIRY, &(old.expires.0, tenant.0, key))?,
            None => {
                let count = read_number(space, tenant, tenant_index::KEY_COUNT, &())?.unwrap_or(0);
                put(space, tenant, tenant_index::KEY_COUNT, &(), &(count + 1).to_be_bytes())?;
            }
        }
        let expires = now.plus_micros(retention.idempotency);
        let row = KeyRow { fingerprint, expires, answer: answer.to_vec() };
        put(space, tenant, tenant_index::KEY, &key, &row.encode())?;
        put(space, TenantId::PLATFORM, index::KEY_EXPIRY, &(expires.0, tenant.0, key), &[])?;
        self.keys_not_before = self.keys_not_before.min(expires);
        Ok(())
    }

    /// Notes that a request of the open entry took effect.
    pub(crate) fn add(&mut self, effect: &Effect<'_>) {
        let added = self.entry.entry(effect.session).or_default();
        added.acknowledged_below = added.acknowledged_below.max(effect.acknowledged_below);
        if added.answers.is_empty() {
            added.first = effect.sequence;
        }
        AnswerRow::append(&mut added.answers, effect.sequence, effect.method, effect.answer);
        if let Some(session) = self.sessions.get_mut(&effect.session) {
            let unknown_from = session.row.acknowledged_below.max(session.highest + 1);
            session.passed_over.extend(unknown_from.max(effect.sequence.saturating_sub(PASSED_OVER_MAX as u64))..effect.sequence);
            session.passed_over.remove(&effect.sequence);
            session.forget_old_gaps();
            session.highest = session.highest.max(effect.sequence);
        }
    }

    /// Ends the entry: writes its answers, trims what was acknowledged, removes what has expired.
    pub(crate) fn finish_entry(&mut self, space: &mut dyn KeyspaceMut, now: Time, retention: Retention) -> Result<(), Fault> {
        for (session, added) in std::mem::take(&mut self.entry) {
            if !added.answers.is_empty() {
                put(space, TenantId::PLATFORM, index::ANSWERS, &(session, added.first), &added.answers)?;
            }
            self.refresh(space, session, added.acknowledged_below, (now, retention.session_idle))?;
        }
        if now >= self.keys_not_before {
            self.keys_not_before = self.expire_keys(space, now)?;
        }
        if now >= self.sessions_not_before {
            self.sessions_not_before = self.expire_sessions(space, now)?;
        }
        Ok(())
    }

    /// Moves a session's acknowledgement and expiry on, not at every request but when it is worth a write.
    fn refresh(&mut self, space: &mut dyn KeyspaceMut, id: u64, acknowledged_below: u64, (now, idle): (Time, u64)) -> Result<(), Fault> {
        let Some(session) = self.session(space, id)? else { return Ok(()) };
        let mut row = session.row;
        if acknowledged_below >= row.acknowledged_below + SESSION_TRIM_STEP {
            let (trimmable, kept) = trimmable(space, (id, row.answers_from), acknowledged_below)?;
            for first in trimmable {
                delete(space, TenantId::PLATFORM, index::ANSWERS, &(id, first))?;
            }
            row.acknowledged_below = acknowledged_below;
            session.passed_over = session.passed_over.split_off(&acknowledged_below);
            row.answers_from = kept.map_or(acknowledged_below, |first| first.min(acknowledged_below));
        }
        if row.expires < now.plus_micros(idle - idle / 4) {
            delete(space, TenantId::PLATFORM, index::SESSION_EXPIRY, &(row.expires.0, id))?;
            row.expires = now.plus_micros(idle);
            put(space, TenantId::PLATFORM, index::SESSION_EXPIRY, &(row.expires.0, id), &[])?;
        }
        if row == session.row {
            return Ok(());
        }
        session.row = row;
        put(space, TenantId::PLATFORM, index::SESSION, &id, &row.encode())
    }

    /// How many keys of a tenant go at the end of the open entry. What is full of them has room: were it refused, there
    /// might never be an entry at whose end they go.
    fn keys_leaving(&self, space: &dyn Keyspace, tenant: TenantId, now: Time) -> Result<u64, Fault> {
        let (due, _) = self.keys_due(space, now)?;
        Ok(due.iter().filter(|(_, (whose, _))| *whose == tenant).count() as u64)
    }

    /// How many sessions go at the end of the open entry; see [`Requests::keys_leaving`].
    fn sessions_leaving(&self, space: &dyn Keyspace, now: Time) -> Result<u64, Fault> {
        let (due, _) = self.sessions_due(space, now)?;
        Ok(due.len() as u64)
    }

    fn keys_due(&self, space: &dyn Keyspace, now: Time) -> Result<Due<(TenantId, String)>, Fault> {
        due(space, index::KEY_EXPIRY, (self.keys_not_before, now), |rest| {
            let (time, tenant, key): (u64, u64, String) = unpack(rest);
            (time, (TenantId(tenant), key))
        })
    }

    fn sessions_due(&self, space: &dyn Keyspace, now: Time) -> Result<Due<u64>, Fault> {
        due(space, index::SESSION_EXPIRY, (self.sessions_not_before, now), |rest| unpack::<(u64, u64)>(rest))
    }

    /// Removes expired keys; gives when the next one expires.
    fn expire_keys(&mut self, space: &mut dyn KeyspaceMut, now: Time) -> Result<Time, Fault> {
        let (due, next) = self.keys_due(space, now)?;
        for (time, (tenant, key)) in due {
            delete(space, TenantId::PLATFORM, index::KEY_EXPIRY, &(time.0, tenant.0, &key))?;
            delete(space, tenant, tenant_index::KEY, &key)?;
            let count = read_number(space, tenant, tenant_index::KEY_COUNT, &())?.unwrap_or(0);
            put(space, tenant, tenant_index::KEY_COUNT, &(), &count.saturating_sub(1).to_be_bytes())?;
        }
        Ok(next)
    }

    /// Removes expired sessions with their answers; gives when the next one expires.
    fn expire_sessions(&mut self, space: &mut dyn KeyspaceMut, now: Time) -> Result<Time, Fault> {
        let (due, next) = self.sessions_due(space, now)?;
        let mut room = EXPIRED_PER_ENTRY_MAX;
        for (time, session) in due {
            let Some(value) = space.get(&platform_key(index::SESSION, &session))? else { continue };
            let row = SessionRow::decode(&value);
            let (firsts, more) = first_answers(space, (session, row.answers_from), room)?;
            for first in &firsts {
                delete(space, TenantId::PLATFORM, index::ANSWERS, &(session, *first))?;
            }
            room -= firsts.len();
            if let Some(first) = more {
                // It has too many answers for one entry: the next goes on from here.
                let row = SessionRow { answers_from: first, ..row };
                put(space, TenantId::PLATFORM, index::SESSION, &session, &row.encode())?;
                self.sessions.remove(&session);
                return Ok(time);
            }
            delete(space, TenantId::PLATFORM, index::SESSION_EXPIRY, &(time.0, session))?;
            delete(space, TenantId::PLATFORM, index::SESSION, &session)?;
            let open = read_counter(space, Counter::SessionsOpen)?;
            write_counter(space, Counter::SessionsOpen, open.saturating_sub(1))?;
            self.sessions.remove(&session);
        }
        Ok(next)
    }

    fn session(&mut self, space: &dyn Keyspace, id: u64) -> Result<Option<&mut Session>, Fault> {
        if let std::collections::btree_map::Entry::Vacant(vacant) = self.sessions.entry(id) {
            let Some(value) = space.get(&platform_key(index::SESSION, &id))? else { return Ok(None) };
            let row = SessionRow::decode(&value);
            let mut answered: Vec<u64> = self.entry.get(&id).map_or_else(Vec::new, |added| AnswerRow::sequences(&added.answers).collect());
            each_answers(space, (id, row.answers_from), |_, answers| {
                answered.extend(AnswerRow::sequences(answers));
                ControlFlow::Continue(())
            })?;
            answered.sort_unstable();
            let mut next = row.acknowledged_below;
            let gap_before = |sequence: &u64| {
                let gap = next..*sequence;
                next = next.max(sequence + 1);
                gap
            };
            let passed_over = answered.iter().flat_map(gap_before).collect();
            let session = Session { row, highest: answered.last().copied().unwrap_or(0), passed_over };
            vacant.insert(session).forget_old_gaps();
        }
        Ok(self.sessions.get_mut(&id))
    }
}

/// The number of a tenant, `None` if nobody created it.
///
/// # Errors
/// The fault of reading its row.
pub fn tenant(space: &dyn Keyspace, name: &str) -> Result<Option<TenantId>, Fault> {
    if name == "default" {
        return Ok(Some(TenantId::DEFAULT));
    }
    Ok(read_number(space, TenantId::PLATFORM, index::TENANT, &name)?.map(TenantId))
}

/// Writes a tenant that an entry created.
pub(crate) fn apply_tenant(space: &mut dyn KeyspaceMut, name: &str, tenant: TenantId) -> Result<(), Fault> {
    put(space, TenantId::PLATFORM, index::TENANT, &name, &tenant.0.to_be_bytes())?;
    write_counter(space, Counter::TenantLast, tenant.0)
}

/// The partition in which a tenant was placed, if that was done here and it is another.
pub(crate) fn placement(space: &dyn Keyspace, name: &str) -> Result<Option<u32>, Fault> {
    let number = read_number(space, TenantId::PLATFORM, index::PLACEMENT, &name)?;
    Ok(number.map(|number| u32::try_from(number).expect("a partition's number has 4 bytes")))
}

/// Writes a placement that an entry holds.
pub(crate) fn apply_placement(space: &mut dyn KeyspaceMut, name: &str, partition: u32) -> Result<(), Fault> {
    put(space, TenantId::PLATFORM, index::PLACEMENT, &name, &u64::from(partition).to_be_bytes())?;
    let placed = read_counter(space, Counter::TenantsPlaced)?;
    write_counter(space, Counter::TenantsPlaced, placed + 1)
}

/// What is said of a tenant that is not here: where it is, or that there is none.
///
/// # Errors
/// The fault of reading its placement.
pub fn absent_tenant(space: &dyn Keyspace, name: &str) -> Result<Refusal, Fault> {
    Ok(match placement(space, name)? {
        Some(partition) => Refusal::placed(name, partition),
        None => Refusal::platform(Code::NotFound, format!("there is no tenant {name:?}; create it with POST /onebox/v1/tenants")),
    })
}

fn find_answer(space: &dyn Keyspace, id: RequestId, answers_from: u64) -> Result<Option<AnswerRow>, Fault> {
    // Most are the first of their session in an entry, after which its row is named.
    let first = space.get(&platform_key(index::ANSWERS, &(id.session.0, id.sequence.0)))?;
    let mut found = first.and_then(|answers| AnswerRow::find(&answers, id.sequence.0));
    if found.is_some() {
        return Ok(found);
    }
    each_answers(space, (id.session.0, answers_from), |_, answers| {
        found = AnswerRow::find(answers, id.sequence.0);
        if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(found)
}

/// The first rows of a session's answers, at most `room`, and the one after them.
fn first_answers(space: &dyn Keyspace, from: (u64, u64), room: usize) -> Result<(Vec<u64>, Option<u64>), Fault> {
    let (mut firsts, mut more) = (Vec::new(), None);
    each_answers(space, from, |first, _| {
        if firsts.len() < room {
            firsts.push(first);
            return ControlFlow::Continue(());
        }
        more = Some(first);
        ControlFlow::Break(())
    })?;
    Ok((firsts, more))
}

/// The rows of answers all of which are below `acknowledged_below`, and the first of the others.
fn trimmable(space: &dyn Keyspace, from: (u64, u64), acknowledged_below: u64) -> Result<(Vec<u64>, Option<u64>), Fault> {
    let (mut firsts, mut kept) = (Vec::new(), None);
    each_answers(space, from, |first, answers| {
        if AnswerRow::highest(answers) < acknowledged_below {
            firsts.push(first);
        } else {
            kept = kept.or(Some(first));
        }
        ControlFlow::Continue(())
    })?;
    Ok((firsts, kept))
}

/// Walks a session's rows of answers, given the session and where they begin.
fn each_answers(space: &dyn Keyspace, from: (u64, u64), mut each: impl FnMut(u64, &[u8]) -> ControlFlow<()>) -> Result<(), Fault> {
    let head = platform_key(index::ANSWERS, &()).len();
    let to = keyspace::end_of_prefix(platform_key(index::ANSWERS, &from.0));
    space.scan(&platform_key(index::ANSWERS, &from), &to, &mut |key, answers| {
        let (_, first): (u64, u64) = unpack(&key[head..]);
        each(first, answers)
    })
}

/// Rows of an expiry index with their times, and when the one after them is due.
type Due<T> = (Vec<(Time, T)>, Time);

/// The first rows of an expiry index that are due, and when the one after them is. None is before `not_before`, so what
/// was removed there is not walked over.
fn due<T>(space: &dyn Keyspace, index: u32, (not_before, now): (Time, Time), read: impl Fn(&[u8]) -> (u64, T)) -> Result<Due<T>, Fault> {
    let all = platform_key(index, &());
    let head = all.len();
    let (mut due, mut next) = (Vec::new(), Time(u64::MAX));
    space.scan(&platform_key(index, &not_before.0), &keyspace::end_of_prefix(all), &mut |key, _| {
        let (time, what) = read(&key[head..]);
        if Time(time) > now || due.len() == EXPIRED_PER_ENTRY_MAX {
            next = Time(time);
            return ControlFlow::Break(());
        }
        due.push((Time(time), what));
        ControlFlow::Continue(())
    })?;
    Ok((due, next))
}

fn unpack<'k, T: foundationdb_tuple::TupleUnpack<'k>>(packed: &'k [u8]) -> T {
    foundationdb_tuple::unpack(packed).expect("the platform's own keys unpack as they were packed")
}

fn platform_key(index: u32, fields: &impl Key) -> Vec<u8> {
    keyspace::key(TenantId::PLATFORM, PLATFORM_TABLE, index, fields)
}

fn read_key(space: &dyn Keyspace, tenant: TenantId, key: &str) -> Result<Option<KeyRow>, Fault> {
    let value = space.get(&keyspace::key(tenant, PLATFORM_TABLE, tenant_index::KEY, &key))?;
    Ok(value.map(|value| KeyRow::decode(&value)))
}

fn read_number(space: &dyn Keyspace, tenant: TenantId, index: u32, fields: &impl Key) -> Result<Option<u64>, Fault> {
    let value = space.get(&keyspace::key(tenant, PLATFORM_TABLE, index, fields))?;
    Ok(value.map(|value| u64::from_be_bytes(value[..].try_into().expect("a platform's number is 8 bytes"))))
}

fn read_counter(space: &dyn Keyspace, counter: Counter) -> Result<u64, Fault> {
    Ok(read_number(space, TenantId::PLATFORM, index::COUNTER, &(counter as u64))?.unwrap_or(0))
}

fn write_counter(space: &mut dyn KeyspaceMut, counter: Counter, number: u64) -> Result<(), Fault> {
    put(space, TenantId::PLATFORM, index::COUNTER, &(counter as u64), &number.to_be_bytes())
}

fn put(space: &mut dyn KeyspaceMut, tenant: TenantId, index: u32, fields: &impl Key, value: &[u8]) -> Result<(), Fault> {
    space.put(&keyspace::key(tenant, PLATFORM_TABLE, index, fields), value)
}

fn delete(space: &mut dyn KeyspaceMut, tenant: TenantId, index: u32, fields: &impl Key) -> Result<(), Fault> {
    space.delete(&keyspace::key(tenant, PLATFORM_TABLE, index, fields))
}
