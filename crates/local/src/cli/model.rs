//! `agent model …`, and the options that name a model.

use clap::{Args, Subcommand};
use domain::Provider;

use super::Deployment;

/// Commands for models.
#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Send one request to a model and show what its server takes
    Test {
        /// Id or name of the agent [default: the model of the options, or the deployment's]
        #[arg(value_name = "ID|NAME")]
        agent: Option<String>,
        #[command(flatten)]
        model: ModelArgs,
        #[command(flatten)]
        deployment: Deployment,
    },
}

/// The model of an agent.
#[derive(Args, Clone, Debug)]
pub struct ModelArgs {
    #[arg(long, value_name = "PROVIDER", value_parser = parse_provider, help = provider_help())]
    pub model_provider: Option<Provider>,
    /// Base URL of the model provider, such as http://127.0.0.1:8080/v1
    #[arg(long, value_name = "URL")]
    pub model_url: Option<String>,
    /// Name of the model at the provider
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Read the model's API key from standard input
    #[arg(long)]
    pub api_key_stdin: bool,
}

fn parse_provider(text: &str) -> Result<Provider, String> {
    let names = Provider::ALL.map(Provider::as_str).join(", ");
    Provider::parse(text).ok_or_else(|| format!("must be one of {names}"))
}

fn provider_help() -> String {
    let providers = Provider::ALL.map(|provider| match provider.info().note {
        "" => provider.as_str().to_owned(),
        note => format!("{} ({note})", provider.as_str()),
    });
    let [first @ .., last] = &providers;
    format!(
        "Model provider: {} or {last} [default: openai if --model-url is given]",
        first.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_lists_the_providers_with_a_note_and_the_default() {
        let help = provider_help();
        assert!(help.starts_with(
            "Model provider: openai (any server with an OpenAI-compatible API), anthropic, "
        ));
        assert!(
            help.ends_with(" or extractive [default: openai if --model-url is given]"),
            "{help}"
        );
    }
}
