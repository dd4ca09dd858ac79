//! A duty, a dialect and a context → the script that is shown and run.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::template::{self, Context, TemplateError};
use crate::core::playbook::{
    Action, Check, Dialect, Duty, Expect, Look, Playbook, Register, Release, Sql, Step, Wording,
};
use crate::core::script::{Act, Command, Expected, Field, Language, Looking, Script, ScriptStep};

/// Why a duty cannot be made ready.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// There is no such duty.
    #[error("there is no duty `{0}`")]
    NoDuty(String),
    /// There is no such dialect.
    #[error("there is no dialect `{0}`")]
    NoDialect(String),
    /// The dialect has no way to say it to a server this old.
    #[error("dialect `{dialect}` cannot say `{word}` to release {release}")]
    NoWord {
        /// The dialect's name.
        dialect: String,
        /// The word.
        word: String,
        /// The server's release.
        release: Release,
    },
    /// A template of the duty cannot be filled.
    #[error("duty `{duty}`, step `{step}`: {error}")]
    Template {
        /// The duty's name.
        duty: String,
        /// The step's name.
        step: String,
        /// Why not.
        error: TemplateError,
    },
}

/// The server a script speaks to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speaks {
    /// `mariadb` or `mysql`.
    pub dialect: String,
    /// Its release.
    pub release: Release,
}

/// Makes a duty ready for one host. `within` caps every step's deadline.
///
/// # Errors
/// When a name does not resolve or a template cannot be filled.
pub fn render(
    playbook: &Playbook,
    duty: &str,
    speaks: &Speaks,
    context: &Context,
    within: Duration,
) -> Result<Script, RenderError> {
    let dialect = playbook
        .dialects
        .get(&speaks.dialect)
        .ok_or_else(|| RenderError::NoDialect(speaks.dialect.clone()))?;
    let renderer = Renderer {
        playbook,
        dialect,
        release: speaks.release,
    };
    let duty = renderer.duty(duty)?;
    let context = renderer.context(context, within);
    let says = template::text(&duty.says, &context).map_err(|error| in_step(duty, "says", error))?;
    let mut steps = Vec::new();
    renderer.steps(duty, &context, within, &mut steps)?;
    Ok(Script {
        duty: duty.name.clone(),
        says,
        steps,
    })
}

/// The statements a new connection is given first, from the word `session`.
///
/// # Errors
/// As [`render`].
pub fn session(playbook: &Playbook, speaks: &Speaks) -> Result<Vec<Command>, RenderError> {
    let dialect = playbook
        .dialects
        .get(&speaks.dialect)
        .ok_or_else(|| RenderError::NoDialect(speaks.dialect.clone()))?;
    Ok(dialect
        .wording("session", speaks.release)
        .filter(|wording| !wording.sql.is_empty())
        .map(|wording| Command::plain(Language::Sql, wording.sql.clone()))
        .into_iter()
        .collect())
}

fn in_step(duty: &Duty, step: &str, error: TemplateError) -> RenderError {
    RenderError::Template {
        duty: duty.name.clone(),
        step: step.to_owned(),
        error,
    }
}

struct Renderer<'p> {
    playbook: &'p Playbook,
    dialect: &'p Dialect,
    release: Release,
}

/// A statement ready to be sent, and the wording its columns come from. `None` when nothing need be said.
type Said<'p> = Option<(Command, Option<&'p Wording>)>;

impl<'p> Renderer<'p> {
    fn duty(&self, name: &str) -> Result<&'p Duty, RenderError> {
        self.playbook
            .duties
            .get(name)
            .ok_or_else(|| RenderError::NoDuty(name.to_owned()))
    }

    fn context(&self, context: &Context, within: Duration) -> Context {
        let mut context = context.clone();
        context
            .set("within", within.as_secs_f64())
            .set("dialect", &self.dialect.name);
        context
    }

    fn steps(
        &self,
        duty: &'p Duty,
        context: &Context,
        within: Duration,
        steps: &mut Vec<ScriptStep>,
    ) -> Result<(), RenderError> {
        let limit = duty.within.map_or(within, |own| own.min(within));
        let gate = match &duty.unless {
            None => None,
            Some(check) => {
                let context = self.context(context, limit);
                let looking = self
                    .looking(check, &context)
                    .map_err(|why| why.placed(duty, "unless"))?;
                looking.map(|looking| {
                    steps.push(bare_step(
                        format!("Is {} done already", duty.name),
                        limit,
                        Act::Wait,
                    ));
                    (steps.len() - 1, looking)
                })
            }
        };
        for step in &duty.steps {
            let within = step.within.or(duty.within).map_or(within, |own| own.min(within));
            let context = self.context(context, within);
            self.step(duty, step, &context, within, steps)?;
        }
        if let Some((at, looking)) = gate {
            let covered = steps.len() - at - 1;
            steps[at].act = Act::SkipIf(looking, covered);
        }
        if let Some(check) = &duty.verify {
            let context = self.context(context, limit);
            let looking = self
                .looking(check, &context)
                .map_err(|why| why.placed(duty, "verify"))?;
            if let Some(looking) = looking {
                steps.push(bare_step(
                    format!("Verify {}", duty.name),
                    limit,
                    Act::Verify(looking),
                ));
            }
        }
        Ok(())
    }

    fn step(
        &self,
        duty: &'p Duty,
        step: &'p Step,
        context: &Context,
        within: Duration,
        steps: &mut Vec<ScriptStep>,
    ) -> Result<(), RenderError> {
        let placed = |error| in_step(duty, &step.name, error);
        if let Some(when) = &step.when
            && !template::holds(when, context).map_err(placed)?
        {
            return Ok(());
        }
        if let Action::Duty(name) = &step.action {
            return self.steps(self.duty(name)?, context, within, steps);
        }
        let whole = |why: Trouble| why.placed(duty, &step.name);
        let Some((act, wording)) = self.act(step, context).map_err(whole)? else {
            return Ok(());
        };
        let look = |check: &Option<Check>| match check {
            Some(check) => self.looking(check, context).map_err(whole),
            None => Ok(None),
        };
        steps.push(ScriptStep {
            name: template::text(&step.name, context).map_err(placed)?,
            within,
            unless: look(&step.unless)?,
            until: look(&step.until)?,
            act,
            expect: match &step.expect {
                Some(expect) => expected(expect, &BTreeMap::new(), wording, context).map_err(placed)?,
                None => Expected::Anything,
            },
            tolerate: step.tolerate.clone(),
            register: fields(step, wording),
        });
        Ok(())
    }

    /// `None` when this server needs no such statement.
    fn act(&self, step: &Step, context: &Context) -> Result<Option<(Act, Option<&'p Wording>)>, Trouble> {
        Ok(match &step.action {
            Action::Run(text) => {
                let text = if step.sudo {
                    format!("sudo -n {}", text.trim())
                } else {
                    text.trim().to_owned()
                };
                let command = template::command(Language::Shell, &text, context)?;
                Some((
                    if step.background {
                        Act::Start(command)
                    } else {
                        Act::Perform(command)
                    },
                    None,
                ))
            }
            Action::Sql(sql) => self.say(sql, context)?.map(|(command, wording)| {
                (
                    if step.run_rows {
                        Act::PerformRows(command)
                    } else {
                        Act::Perform(command)
                    },
                    wording,
                )
            }),
            Action::Wait | Action::Duty(_) => Some((Act::Wait, None)),
        })
    }

    fn say(&self, sql: &Sql, context: &Context) -> Result<Said<'p>, Trouble> {
        match sql {
            Sql::Literal(text) => Ok(Some((
                template::command(Language::Sql, text.trim(), context)?,
                None,
            ))),
            Sql::Word(word) => {
                let wording = self.dialect.wording(word, self.release).ok_or_else(|| {
                    Trouble::Word(RenderError::NoWord {
                        dialect: self.dialect.name.clone(),
                        word: word.clone(),
                        release: self.release,
                    })
                })?;
                if wording.sql.is_empty() {
                    return Ok(None);
                }
                Ok(Some((
                    template::command(Language::Sql, &wording.sql, context)?,
                    Some(wording),
                )))
            }
        }
    }

    fn looking(&self, check: &Check, context: &Context) -> Result<Option<Looking>, Trouble> {
        let (command, wording) = match &check.look {
            Look::Run(text) => (template::command(Language::Shell, text.trim(), context)?, None),
            Look::Sql(sql) => match self.say(sql, context)? {
                Some(said) => said,
                None => return Ok(None),
            },
        };
        let expect = match (&check.expect, command.language) {
            (Some(expect), _) => expected(expect, &check.same, wording, context)?,
            (None, _) if !check.same.is_empty() => {
                expected(&Expect::Columns(BTreeMap::new()), &check.same, wording, context)?
            }
            (None, Language::Sql) => Expected::Answer("1".to_owned()),
            (None, Language::Shell) => Expected::Anything,
        };
        Ok(Some(Looking {
            command,
            expect,
            or_none: check.or_none.clone(),
        }))
    }
}

/// What went wrong inside a step, before the step's place is known.
enum Trouble {
    Word(RenderError),
    Template(TemplateError),
}

impl From<TemplateError> for Trouble {
    fn from(error: TemplateError) -> Self {
        Trouble::Template(error)
    }
}

impl Trouble {
    fn placed(self, duty: &Duty, step: &str) -> RenderError {
        match self {
            Trouble::Word(error) => error,
            Trouble::Template(error) => in_step(duty, step, error),
        }
    }
}

fn bare_step(name: String, within: Duration, act: Act) -> ScriptStep {
    ScriptStep {
        name,
        within,
        unless: None,
        act,
        until: None,
        expect: Expected::Anything,
        tolerate: Vec::new(),
        register: BTreeMap::new(),
    }
}

fn expected(
    expect: &Expect,
    same: &BTreeMap<String, String>,
    wording: Option<&Wording>,
    context: &Context,
) -> Result<Expected, TemplateError> {
    let column = |name: &String| server_column(name, wording);
    Ok(match expect {
        Expect::Answer(text) => Expected::Answer(template::text(text, context)?),
        Expect::Columns(columns) => Expected::Columns {
            values: columns
                .iter()
                .map(|(name, text)| Ok((column(name), template::text(text, context)?)))
                .collect::<Result<_, TemplateError>>()?,
            same: same
                .iter()
                .map(|(left, right)| (column(left), column(right)))
                .collect(),
        },
    })
}

fn fields(step: &Step, wording: Option<&Wording>) -> BTreeMap<String, Field> {
    let is_command = matches!(step.action, Action::Run(_));
    let field = |column: &String| match (column.as_str(), is_command) {
        ("status", true) => Field::Status,
        (_, true) => Field::Answer,
        (_, false) => Field::Column(server_column(column, wording)),
    };
    match &step.register {
        Register::Nothing => BTreeMap::new(),
        Register::Answer(name) => BTreeMap::from([(name.clone(), Field::Answer)]),
        Register::Columns(columns) => columns
            .iter()
            .map(|(name, column)| (name.clone(), field(column)))
            .collect(),
    }
}

fn server_column(name: &str, wording: Option<&Wording>) -> String {
    wording
        .and_then(|wording| wording.columns.get(name))
        .map_or(name, String::as_str)
        .to_owned()
}
