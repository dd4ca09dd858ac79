//! Which commands a duty runs as root, for asking a host whether it allows them.

use std::collections::BTreeSet;

use super::render::RenderError;
use crate::config::template::{self, Context};
use crate::core::playbook::{Action, Duty, Playbook, Step};
use crate::core::script::{Command, Language};

/// The commands that a duty runs through `sudo -n`, nested duties included, without the `sudo -n`. The grammar allows
/// only simple commands there, so each can be given to `sudo -l` as it is.
///
/// # Errors
/// There is no such duty, or a command names what the context lacks.
pub fn root_commands(
    playbook: &Playbook,
    duty: &str,
    context: &Context,
) -> Result<Vec<Command>, RenderError> {
    let mut commands = Vec::new();
    collect(playbook, duty, context, &mut BTreeSet::new(), &mut commands)?;
    Ok(commands)
}

fn collect<'p>(
    playbook: &'p Playbook,
    name: &'p str,
    context: &Context,
    seen: &mut BTreeSet<&'p str>,
    commands: &mut Vec<Command>,
) -> Result<(), RenderError> {
    if !seen.insert(name) {
        return Ok(());
    }
    let duty = playbook
        .duties
        .get(name)
        .ok_or_else(|| RenderError::NoDuty(name.to_owned()))?;
    for step in &duty.steps {
        match &step.action {
            Action::Run(text) if step.sudo => commands.extend(as_root(duty, step, text, context)?),
            Action::Duty(nested) => collect(playbook, nested, context, seen, commands)?,
            _ => {}
        }
    }
    Ok(())
}

/// The command of one step; `None` when the step does not apply here.
fn as_root(duty: &Duty, step: &Step, text: &str, context: &Context) -> Result<Option<Command>, RenderError> {
    let applies = step
        .when
        .as_ref()
        .map_or(Ok(true), |when| template::holds(when, context));
    let command = match applies {
        Ok(true) => template::command(Language::Shell, text.trim(), context).map(Some),
        Ok(false) => Ok(None),
        Err(error) => Err(error),
    };
    command.map_err(|error| RenderError::Template {
        duty: duty.name.clone(),
        step: step.name.clone(),
        error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_duties_are_followed_and_conditions_kept() {
        let playbook = crate::config::playbook::load(None).unwrap();
        let mut context = Context::default();
        context
            .set("host", serde_json::json!({ "name": "db1", "interface": "eth0" }))
            .set(
                "address",
                serde_json::json!({ "ip": "10.0.0.1", "prefix": 32, "version": 4 }),
            );
        let commands = |duty: &str, context: &Context| -> Vec<String> {
            let commands = root_commands(&playbook, duty, context).unwrap();
            commands.iter().map(Command::wire).collect()
        };
        assert_eq!(
            commands("drop-address", &context),
            ["ip address flush to 10.0.0.1/32"]
        );
        assert_eq!(commands("announce", &context).len(), 2);
        context.set(
            "address",
            serde_json::json!({ "ip": "fd00::1", "prefix": 128, "version": 6 }),
        );
        let as_it_comes_up = "ip address replace fd00::1/128 dev eth0".to_owned();
        assert!(commands("announce", &context).contains(&as_it_comes_up));
        assert!(root_commands(&playbook, "keep-stopped", &context).is_err());
    }
}
