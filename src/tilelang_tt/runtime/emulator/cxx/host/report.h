// Writes what a run did, as JSON that report.py reads.
#pragma once
#include <cstdio>

#include "core.h"

class Json {
public:
    explicit Json(const char* path) : file_(std::fopen(path, "w")) {
        if (file_ == nullptr) {
            std::fprintf(stderr, "cannot write %s\n", path);
            std::exit(3);
        }
    }
    ~Json() { std::fclose(file_); }
    Json(const Json&) = delete;
    Json& operator=(const Json&) = delete;

    void open(const char* key, char bracket) {
        item(key);
        std::fputc(bracket, file_);
        first_ = true;
    }
    void close(char bracket) {
        std::fputc(bracket, file_);
        first_ = false;
    }
    void number(const char* key, std::uint64_t value) {
        item(key);
        std::fprintf(file_, "%llu", static_cast<unsigned long long>(value));
    }
    void text(const char* key, const std::string& value) {
        item(key);
        std::fputc('"', file_);
        for (const char c : value) {
            if (c == '"' || c == '\\') {
                std::fputc('\\', file_);
            }
            if (static_cast<unsigned char>(c) >= 0x20) {
                std::fputc(c, file_);
            } else {
                std::fprintf(file_, "\\u%04x", c);
            }
        }
        std::fputc('"', file_);
    }
    void numbers(const char* key, const std::vector<std::uint64_t>& values) {
        open(key, '[');
        for (const std::uint64_t value : values) {
            number(nullptr, value);
        }
        close(']');
    }

private:
    void item(const char* key) {
        if (!first_) {
            std::fputc(',', file_);
        }
        first_ = false;
        if (key != nullptr) {
            std::fprintf(file_, "\"%s\":", key);
        }
    }
    std::FILE* file_;
    bool first_ = true;
};

inline void write_fault(const Program& program, const Core* core, const Fault& fault) {
    Json json(program.report.c_str());
    json.open(nullptr, '{');
    json.open("fault", '{');
    json.text("code", fault.code);
    json.text("text", fault.text);
    json.text("kernel", fault.kernel);
    json.text("source", fault.source);
    json.number("line", fault.line);
    json.text("cb", fault.cb);
    json.open("core", '[');
    if (core != nullptr) {
        json.number(nullptr, core->spec.x);
        json.number(nullptr, core->spec.y);
    }
    json.close(']');
    json.close('}');
    json.close('}');
}

inline void write_counts(const Program& program, const std::vector<std::unique_ptr<Core>>& cores) {
    Json json(program.report.c_str());
    json.open(nullptr, '{');
    json.open("cores", '[');
    for (const auto& core : cores) {
        if (!core->spec.runs) {
            continue;
        }
        const Counts& counts = core->counts;
        json.open(nullptr, '{');
        json.number("x", core->spec.x);
        json.number("y", core->spec.y);
        json.numbers("bank_read", counts.bank_read);
        json.numbers("bank_written", counts.bank_written);
        json.numbers("tensor_read", counts.tensor_read);
        json.numbers("tensor_written", counts.tensor_written);
        json.number("dram_read", counts.dram_read);
        json.number("dram_written", counts.dram_written);
        json.number("l1_remote_read", counts.l1_remote_read);
        json.number("l1_remote_written", counts.l1_remote_written);
        json.number("l1_local", counts.l1_local);
        json.number("l1_multicast", counts.l1_multicast);
        json.numbers("byte_hops", {counts.byte_hops[0], counts.byte_hops[1]});
        json.number("products", counts.products);
        json.number("eltwise", counts.eltwise);
        json.number("sfpu", counts.sfpu);
        json.number("unpacks", counts.unpacks);
        json.number("packs", counts.packs);
        json.close('}');
    }
    json.close(']');
    json.open("unwritten", '[');
    for (const auto& tensor : program.tensors) {
        std::vector<std::uint64_t> pages;
        for (std::uint32_t page = 0; tensor->writable && page < tensor->pages; ++page) {
            if (tensor->writers.first(page) == PageUsers::nobody) {
                pages.push_back(page);
            }
        }
        json.numbers(nullptr, pages);
    }
    json.close(']');
    json.close('}');
}
