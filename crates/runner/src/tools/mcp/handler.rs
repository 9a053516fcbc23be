//! Answers the requests of a server. A webhook run has no person to ask, no files and no model to
//! lend, so it answers only `ping`.

use rmcp::model::{
    ClientConfig, ElicitRequestParams, ElicitResult, ElicitationCreateRequestMethod, ErrorData,
};
use rmcp::service::RequestContext;
use rmcp::{ClientHandler, RoleClient};

/// The description of this client that servers get.
pub(in crate::tools) struct WebhookClient(pub(super) ClientConfig);

impl ClientHandler for WebhookClient {
    fn get_info(&self) -> ClientConfig {
        self.0.clone()
    }

    async fn create_elicitation(
        &self,
        _request: ElicitRequestParams,
        _context: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        Err(ErrorData::method_not_found::<ElicitationCreateRequestMethod>())
    }

    #[expect(deprecated, reason = "servers of older versions send this request")]
    async fn list_roots(
        &self,
        _context: RequestContext<RoleClient>,
    ) -> Result<rmcp::model::ListRootsResult, ErrorData> {
        Err(ErrorData::method_not_found::<
            rmcp::model::ListRootsRequestMethod,
        >())
    }
}
