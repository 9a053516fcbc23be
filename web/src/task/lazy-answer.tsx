// The reader of Markdown is a third of the console: it comes with the first answer.
import { lazy } from "../lazy.tsx";

export const AnswerText = lazy(() => import("./answer.tsx").then((file) => file.AnswerText));
