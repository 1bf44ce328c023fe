//! A statement that runs for every row. What is the same as in the row before stays bound: SQLite keeps it, and most columns of
//! records and discrepancies are words that hardly ever change.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Statement, ToSql};

use crate::failure::Failure;

/// A prepared statement and what is bound to it.
pub struct PerRow<'c> {
    statement: Statement<'c>,
    /// One for each parameter, from ?1.
    bound: Vec<Bound>,
}

#[derive(Clone, PartialEq, Eq)]
enum Bound {
    Nothing,
    Null,
    Integer(i64),
    Text(Vec<u8>),
}

impl<'c> PerRow<'c> {
    pub fn prepare(connection: &'c Connection, sql: &str) -> Result<Self, Failure> {
        let statement = connection.prepare(sql)?;
        let bound = vec![Bound::Nothing; statement.parameter_count()];
        Ok(PerRow { statement, bound })
    }

    /// The statement with these parameters; those beyond its own are left out.
    pub fn bound(&mut self, parameters: &[&dyn ToSql]) -> Result<&mut Statement<'c>, Failure> {
        for ((index, parameter), bound) in (1_usize..).zip(parameters).zip(&mut self.bound) {
            let value = parameter.to_sql()?;
            if bound.take(&value) {
                self.statement.raw_bind_parameter(index, value)?;
            }
        }
        Ok(&mut self.statement)
    }
}

impl Bound {
    /// Remembers a value; false when it is bound already.
    fn take(&mut self, value: &ToSqlOutput<'_>) -> bool {
        let value = match value {
            ToSqlOutput::Borrowed(value) => *value,
            ToSqlOutput::Owned(value) => value.into(),
            _ => {
                *self = Bound::Nothing;
                return true;
            }
        };
        match (&mut *self, value) {
            (Bound::Null, ValueRef::Null) => return false,
            (Bound::Integer(known), ValueRef::Integer(number)) if *known == number => return false,
            (Bound::Text(known), ValueRef::Text(text)) => {
                if known == text {
                    return false;
                }
                known.clear();
                known.extend_from_slice(text);
            }
            (_, ValueRef::Null) => *self = Bound::Null,
            (_, ValueRef::Integer(number)) => *self = Bound::Integer(number),
            (_, ValueRef::Text(text)) => *self = Bound::Text(text.to_vec()),
            (_, ValueRef::Real(_) | ValueRef::Blob(_)) => *self = Bound::Nothing,
        }
        true
    }
}
