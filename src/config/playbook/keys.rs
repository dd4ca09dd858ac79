//! The keys that each written form knows, asked of the form itself, so that no second list of them can go stale.

use serde::de::value::Error;
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

use super::grammar::{
    DialectFile, DutyFile, FullCheck, OperationFile, OperationStepText, StepText, WordingText,
};

/// A place in a playbook file where keys are closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A duty's file.
    Duty,
    /// A step of a duty.
    Step,
    /// A check that is written out.
    Check,
    /// An operation's file.
    Operation,
    /// A step of an operation.
    OperationStep,
    /// A dialect's file.
    Dialect,
    /// One way to say a word.
    Wording,
}

impl Form {
    /// Every form.
    pub const ALL: [Form; 7] = [
        Form::Duty,
        Form::Step,
        Form::Check,
        Form::Operation,
        Form::OperationStep,
        Form::Dialect,
        Form::Wording,
    ];

    /// Its keys.
    pub fn keys(self) -> &'static [&'static str] {
        match self {
            Form::Duty => of::<DutyFile>(),
            Form::Step => of::<StepText>(),
            Form::Check => of::<FullCheck>(),
            Form::Operation => of::<OperationFile>(),
            Form::OperationStep => of::<OperationStepText>(),
            Form::Dialect => of::<DialectFile>(),
            Form::Wording => of::<WordingText>(),
        }
    }
}

fn of<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut keys: &'static [&'static str] = &[];
    // It always ends with an error: there is nothing to read, only somebody who wants to know.
    let _asked = T::deserialize(Probe(&mut keys));
    keys
}

/// Notes which keys are asked for, and gives nothing.
struct Probe<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        Err(Error::custom("only keys are asked for"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_tells_its_keys() {
        for form in Form::ALL {
            assert!(!form.keys().is_empty(), "{form:?}");
        }
        assert!(Form::Step.keys().contains(&"run_rows"));
        assert!(Form::Operation.keys().contains(&"secure"));
    }
}
