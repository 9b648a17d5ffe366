//! The import itself: who asks how much.

use futures_util::{StreamExt as _, stream};

use crate::{
    bindings::provisioning::dns::resolver::{Answer, Failure, Host, Question},
    state::State,
};

/// Questions of one `ask`.
const QUESTIONS: usize = 256;
/// Questions under way at one time.
const IN_FLIGHT: usize = 64;

impl Host for State {
    async fn servers(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self.resolver.ids())
    }

    async fn ask(&mut self, questions: Vec<Question>) -> wasmtime::Result<Vec<Result<Answer, Failure>>> {
        let allowed = questions.len().min(QUESTIONS).min(self.questions_left);
        self.questions_left -= allowed;
        let all = questions.len();
        self.tally.lock().questions += allowed as u64;
        self.tally.lock().denials.limits += (all - allowed) as u64;
        let asked = stream::iter(questions.into_iter().take(allowed))
            .map(|question| {
                let (resolver, bytes_left, tally) =
                    (self.resolver.clone(), self.bytes_left.clone(), self.tally.clone());
                async move { resolver.ask(&question, &bytes_left, &tally).await }
            })
            .buffered(IN_FLIGHT);
        let mut answers: Vec<_> = asked.collect().await;
        answers.resize(all, Err(Failure::Denied));
        Ok(answers)
    }
}
