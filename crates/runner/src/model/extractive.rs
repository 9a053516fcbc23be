//! No model: the answer is the best passages of the agent's sources, word for word.

use domain::{ErrorType, Fault, ModelReply};

use super::Question;

pub(super) fn ask(question: &Question<'_>) -> Result<ModelReply, Fault> {
    if question.passages.is_empty() {
        return Err(Fault::permanent(
            ErrorType::EmptyAnswer,
            "No passage of the agent's sources speaks to this payload; add sources or give the agent a model",
        ));
    }
    let passages: Vec<String> =
        question.passages.iter().map(|passage| format!("{}\n— {}", passage.text, passage.title)).collect();
    Ok(ModelReply { text: passages.join("\n\n"), ..ModelReply::default() })
}
