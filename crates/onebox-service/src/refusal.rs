//! Refusals: domain answers that say why a request was not carried out. A refused request changes nothing.

use prost::Message;

/// The code of an answer, with the numbers and meanings of gRPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Code {
    /// The outcome cannot be told; ask with the request id.
    Unknown = 2,
    /// The request itself is wrong, whatever the state.
    InvalidArgument = 3,
    /// The deadline passed before an answer.
    DeadlineExceeded = 4,
    /// Something named in the request does not exist.
    NotFound = 5,
    /// Something the request would create exists.
    AlreadyExists = 6,
    /// The caller may not do this.
    PermissionDenied = 7,
    /// A limit or a quota is used up.
    ResourceExhausted = 8,
    /// The state does not allow it.
    FailedPrecondition = 9,
    /// It conflicts with another request.
    Aborted = 10,
    /// A value would leave its range.
    OutOfRange = 11,
    /// There is no such method.
    Unimplemented = 12,
    /// A bug on this side.
    Internal = 13,
    /// Not now; try again.
    Unavailable = 14,
    /// Stored data is damaged.
    DataLoss = 15,
    /// The caller is not known.
    Unauthenticated = 16,
}

impl Code {
    /// Every code, in ascending order of number.
    pub const ALL: [Code; 15] = [
        Code::Unknown,
        Code::InvalidArgument,
        Code::DeadlineExceeded,
        Code::NotFound,
        Code::AlreadyExists,
        Code::PermissionDenied,
        Code::ResourceExhausted,
        Code::FailedPrecondition,
        Code::Aborted,
        Code::OutOfRange,
        Code::Unimplemented,
        Code::Internal,
        Code::Unavailable,
        Code::DataLoss,
        Code::Unauthenticated,
    ];

    /// gRPC's name of the code, for example `NOT_FOUND`.
    pub fn name(self) -> &'static str {
        match self {
            Code::Unknown => "UNKNOWN",
            Code::InvalidArgument => "INVALID_ARGUMENT",
            Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Code::NotFound => "NOT_FOUND",
            Code::AlreadyExists => "ALREADY_EXISTS",
            Code::PermissionDenied => "PERMISSION_DENIED",
            Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Code::FailedPrecondition => "FAILED_PRECONDITION",
            Code::Aborted => "ABORTED",
            Code::OutOfRange => "OUT_OF_RANGE",
            Code::Unimplemented => "UNIMPLEMENTED",
            Code::Internal => "INTERNAL",
            Code::Unavailable => "UNAVAILABLE",
            Code::DataLoss => "DATA_LOSS",
            Code::Unauthenticated => "UNAUTHENTICATED",
        }
    }
}

/// Why a request was not carried out, in the form that crosses the seam.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its code.
    pub code: Code,
    /// Full name of the refusal message in the schema, for example `inventory.v1.NotEnoughStock`.
    /// Empty for a refusal of the platform.
    pub kind: &'static str,
    /// The sentence for a person, with the fields filled in.
    pub message: String,
    /// The encoded refusal message; empty for a refusal of the platform.
    pub detail: Vec<u8>,
}

/// The kind of the refusal that says of which partition a tenant is.
pub const PLACED: &str = "onebox.Placed";

impl Refusal {
    /// A tenant was placed in another partition, whose number is the detail: 4 bytes, big endian.
    pub fn placed(tenant: &str, partition: u32) -> Refusal {
        let message = format!("the tenant {tenant:?} is of partition {partition}");
        Refusal { code: Code::FailedPrecondition, kind: PLACED, message, detail: partition.to_be_bytes().to_vec() }
    }

    /// The partition, if this is that refusal.
    pub fn placed_in(&self) -> Option<u32> {
        let detail = (self.kind == PLACED).then_some(&self.detail[..])?;
        detail.try_into().ok().map(u32::from_be_bytes)
    }

    /// A refusal of the platform itself: a code and a sentence.
    pub fn platform(code: Code, message: impl Into<String>) -> Refusal {
        Refusal { code, kind: "", message: message.into(), detail: Vec::new() }
    }

    /// The wire form of a schema's refusal.
    pub fn of<M: RefusalMessage>(message: &M) -> Refusal {
        Refusal { code: M::CODE, kind: M::KIND, message: message.sentence(), detail: message.encode_to_vec() }
    }
}

/// A message with `(onebox.refusal)`. Implemented by generated code, together with `From<Self> for Refusal`.
pub trait RefusalMessage: Message + Default {
    /// The code the schema gives it.
    const CODE: Code;
    /// Its full name in the schema.
    const KIND: &'static str;
    /// The schema's sentence with the fields filled in.
    fn sentence(&self) -> String;
}

/// What a feature answers.
pub type Outcome<T> = Result<T, Refusal>;

/// Refuses the request: `return refuse(NotEnoughStock { free })`.
///
/// # Errors
/// Always: the refusal is the error.
pub fn refuse<T>(refusal: impl Into<Refusal>) -> Outcome<T> {
    Err(refusal.into())
}
