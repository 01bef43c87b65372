# Env files as Ruby's dotenv reads them, which runs `$(...)`. In and out as in python_dotenv.py.
require "base64"
require "dotenv"
require "json"

ENV.replace("PATH" => "/nowhere", "X" => "expanded", "HOME" => "/expanded", "USER" => "expanded")
answers = JSON.parse($stdin.read).map do |file|
  Dotenv::Parser.call(Base64.decode64(file).force_encoding("UTF-8")).transform_values { |v| Base64.strict_encode64(v || "") }
rescue StandardError
  nil
end
puts JSON.generate(answers)
