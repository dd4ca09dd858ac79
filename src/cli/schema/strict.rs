//! A schema as our own tests take it. Readers ignore fields that they do not know, but nothing that we print may be unknown
//! to our schemas. The story that holds real output against them shares this.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Fields whose own fields are named by what they tell, not by us.
const NAMED_BY_DATA: [&str; 4] = ["registered", "with", "exact", "bounds"];

/// A schema that is asked for more than once.
pub struct Schema {
    schemas: boon::Schemas,
    index: boon::SchemaIndex,
}

impl Schema {
    /// Takes a schema as it is.
    ///
    /// # Errors
    /// It is no schema.
    pub fn lenient(mut schema: Value) -> Result<Schema, String> {
        // Its identity is its name; here it is found by its place.
        if let Some(fields) = schema.as_object_mut() {
            fields.remove("$id");
        }
        let mut schemas = boon::Schemas::new();
        let mut compiler = boon::Compiler::new();
        let place = "memory:///schema.json";
        let no_schema = |error: boon::CompileError| error.to_string();
        compiler.add_resource(place, schema).map_err(no_schema)?;
        let index = compiler.compile(place, &mut schemas).map_err(no_schema)?;
        Ok(Schema { schemas, index })
    }

    /// Takes a schema with every object closed: a field that it does not list is wrong.
    ///
    /// # Errors
    /// It is no schema.
    pub fn strict(mut schema: Value) -> Result<Schema, String> {
        close(&mut schema);
        Schema::lenient(schema)
    }

    /// What is wrong with a value; none when nothing is.
    pub fn wrong(&self, value: &Value) -> Option<String> {
        let valid = self.schemas.validate(value, self.index);
        valid.err().map(|error| format!("{error:#}"))
    }

    /// The fields of a valid value that could be called otherwise without being wrong by this schema; there should be none.
    pub fn takes_misspelt(&self, value: &Value) -> Vec<String> {
        let mut fields = BTreeMap::new();
        misspell(value, "", &mut Vec::new(), &mut fields);
        let taken = fields.into_iter().filter(|(_, path)| {
            let mut misspelt = value.clone();
            rename(&mut misspelt, path);
            self.wrong(&misspelt).is_none()
        });
        taken.map(|(field, _)| field).collect()
    }
}

/// Closes whatever is a value of its own, together with all that is said about the same value.
fn close(schema: &mut Value) {
    if let Some(fields) = schema.as_object_mut() {
        fields.insert("unevaluatedProperties".to_owned(), false.into());
        within(fields);
    }
}

/// Closes the values within one.
fn within(schema: &mut Map<String, Value>) {
    for (word, said) in schema.iter_mut() {
        match (word.as_str(), said) {
            ("properties", Value::Object(fields)) => fields.values_mut().for_each(close),
            ("items" | "additionalProperties", said) => close(said),
            ("allOf" | "anyOf" | "oneOf", Value::Array(choices)) => {
                for choice in choices.iter_mut().filter_map(Value::as_object_mut) {
                    within(choice);
                }
            }
            ("then" | "else", Value::Object(choice)) => within(choice),
            ("$defs", Value::Object(parts)) => {
                for part in parts.values_mut().filter_map(Value::as_object_mut) {
                    within(part);
                }
            }
            _ => {}
        }
    }
}

/// One place of each field that we name, places of a list counting as one.
fn misspell<'v>(
    value: &'v Value,
    shape: &str,
    path: &mut Vec<Step<'v>>,
    fields: &mut BTreeMap<String, Vec<Step<'v>>>,
) {
    match value {
        Value::Object(inner) => {
            let by_data = NAMED_BY_DATA.iter().any(|name| {
                shape.ends_with(&format!(".{name}"))
                    || shape.ends_with(&format!(".{name}.*")) && *name == "exact"
            });
            for (name, value) in inner {
                let shape = format!("{shape}.{}", if by_data { "*" } else { name });
                path.push(Step::Field(name));
                if !by_data {
                    fields.entry(shape.clone()).or_insert_with(|| path.clone());
                }
                misspell(value, &shape, path, fields);
                path.pop();
            }
        }
        Value::Array(inner) => {
            for (place, value) in inner.iter().enumerate() {
                path.push(Step::Place(place));
                misspell(value, &format!("{shape}[]"), path, fields);
                path.pop();
            }
        }
        _ => {}
    }
}

/// A step into a value.
#[derive(Debug, Clone)]
enum Step<'v> {
    Field(&'v str),
    Place(usize),
}

/// Calls the field at the end of a path otherwise.
fn rename(value: &mut Value, path: &[Step]) {
    match path {
        [Step::Field(name)] => {
            if let Some(fields) = value.as_object_mut()
                && let Some(inner) = fields.remove(*name)
            {
                fields.insert(format!("{name}x"), inner);
            }
        }
        [Step::Field(name), more @ ..] => rename(&mut value[*name], more),
        [Step::Place(place), more @ ..] => rename(&mut value[*place], more),
        [] => {}
    }
}
