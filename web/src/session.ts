// Signing in and out. The admin token is sent to the server once and not stored here. The
// session is an HttpOnly cookie, which scripts cannot read.
import { type ApiError, api, asApiError, session } from "./api.ts";

/** Asks the server once whether this browser is signed in. */
export async function findSession(): Promise<ApiError | undefined> {
  try {
    await api.get("/api/session");
    session.set("in");
    return undefined;
  } catch (error) {
    const problem = asApiError(error);
    return problem.status === 401 ? undefined : problem;
  }
}

export async function signIn(adminToken: string) {
  await api.post("/api/session", { admin_token: adminToken });
  session.set("in");
}

export async function signOut() {
  await api.delete("/api/session");
}
