import { BasicFields, LimitFields, PromptFields, SchemaFields } from "../../definition/fields.tsx";
import { ModelFields } from "../../definition/model-fields.tsx";
import { SaveBar } from "../../definition/save-bar.tsx";
import { useAgentEditor } from "../../definition/save.ts";
import { ToolFields } from "../../definition/tool-fields.tsx";
import { useDocuments } from "../../documents.ts";
import type { PartProps } from "./part.ts";

export function DefinitionPart({ agent, onChanged }: PartProps) {
  const editor = useAgentEditor(agent, onChanged);
  const documents = useDocuments(agent.agent_id);
  const hasSources = agent.sources.length > 0 || (documents.data?.sources.length ?? 0) > 0;
  return (
    <form
      ref={editor.place}
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void editor.save();
      }}
    >
      <BasicFields editor={editor} />
      <PromptFields editor={editor} hasSources={hasSources} />
      <ModelFields editor={editor} agent={agent} />
      <ToolFields editor={editor} />
      <SchemaFields editor={editor} />
      <LimitFields editor={editor} />
      <SaveBar editor={editor} />
    </form>
  );
}
