// A program as an agent runs it: both official SDKs, told of nothing but their environment.

import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const { LLM_ORIGIN, PROMPT = "" } = process.env;
const openai = new OpenAI({ baseURL: `${LLM_ORIGIN}/v1`, maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: `${LLM_ORIGIN}`, maxRetries: 0 });
const messages = [{ role: "user" as const, content: PROMPT }];

async function said(run: () => Promise<string>): Promise<string> {
  try {
    return await run();
  } catch (error) {
    const { status, headers } = error as { status?: number; headers?: Headers };
    return `${status} ${headers?.get("x-altrace-reason")}`;
  }
}

const whole = await said(async () => {
  const answer = await openai.chat.completions.create({ model: "gpt-5-mini", messages });
  return answer.choices[0]?.message.content ?? "";
});
const streamed = await said(async () => {
  let text = "";
  const stream = await openai.chat.completions.create({
    model: "gpt-5-mini",
    messages,
    stream: true,
  });
  for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
  return text;
});
const anthropics = await said(async () => {
  const answer = await anthropic.messages.create({
    model: "claude-haiku-4-5",
    max_tokens: 100,
    messages,
  });
  const [first] = answer.content;
  return first?.type === "text" ? first.text : "";
});
console.log(JSON.stringify({ whole, streamed, anthropics }));
