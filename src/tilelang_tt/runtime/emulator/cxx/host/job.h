// Reads a job: one declaration per line, words separated by single spaces. Written by job.py; anything else is refused.
#pragma once
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "program.h"

[[noreturn]] inline void bad_job(const std::string& why) {
    std::fprintf(stderr, "bad job: %s\n", why.c_str());
    std::exit(3);
}

class JobLine {
public:
    explicit JobLine(const std::string& text) : text_(text), words_(text) {}
    std::string word() {
        std::string word;
        if (!(words_ >> word)) {
            bad_job("line ends early: " + text_);
        }
        return word;
    }
    std::uint32_t number() {
        const std::string digits = word();
        char* end = nullptr;
        const unsigned long long value = std::strtoull(digits.c_str(), &end, 10);
        if (*end != 0 || digits[0] == '-' || value > 0xffffffffull) {
            bad_job("not a number: " + digits + " in " + text_);
        }
        return static_cast<std::uint32_t>(value);
    }
    std::uint32_t index() {  // "-" stands for none
        const auto before = words_.tellg();
        if (word() == "-") {
            return no_index;
        }
        words_.seekg(before);
        return number();
    }
    std::string rest() {
        std::string rest;
        std::getline(words_ >> std::ws, rest);
        return rest;
    }
    template <typename T, typename F>
    std::vector<T> list(F read) {
        std::vector<T> values(number());
        for (T& value : values) {
            value = read();
        }
        return values;
    }
    void end() {
        std::string word;
        if (words_ >> word) {
            bad_job("line goes on: " + text_);
        }
    }

private:
    std::string text_;
    std::istringstream words_;
};

inline DataFormat parse_format(const std::string& name) {
    if (name == "Float32") return DataFormat::Float32;
    if (name == "Float16") return DataFormat::Float16;
    if (name == "Float16_b") return DataFormat::Float16_b;
    if (name == "Int32") return DataFormat::Int32;
    if (name == "UInt32") return DataFormat::UInt32;
    if (name == "Bfp8_b") return DataFormat::Bfp8_b;
    if (name == "Bfp4_b") return DataFormat::Bfp4_b;
    bad_job("unknown data format " + name);
}

inline std::uint8_t* map_file(const std::string& path, std::size_t bytes) {
    const int file = ::open(path.c_str(), O_RDWR);
    struct stat status{};
    if (file < 0 || ::fstat(file, &status) != 0 || static_cast<std::size_t>(status.st_size) != bytes) {
        bad_job("cannot open " + path + ", or its size is wrong");
    }
    void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    ::close(file);
    if (data == MAP_FAILED) {
        bad_job("cannot map " + path);
    }
    return static_cast<std::uint8_t*>(data);
}

inline void parse_tensor(JobLine& line, Program& program) {
    auto tensor = std::make_unique<Tensor>();
    tensor->name = line.word();
    tensor->format = parse_format(line.word());
    const std::string memory = line.word(), direction = line.word();
    tensor->in_l1 = memory == "L1";
    tensor->readable = direction != "out";
    tensor->writable = direction != "in";
    tensor->page_bytes = line.number();
    tensor->pages = line.number();
    tensor->address = line.number();
    if (tensor->page_bytes == 0 || tensor->pages == 0) {
        bad_job("tensor " + tensor->name + " is empty");
    }
    tensor->data = map_file(line.rest(), std::size_t{tensor->page_bytes} * tensor->pages);
    if (tensor->writable) {
        tensor->writers.resize(tensor->pages);
        tensor->readers.resize(tensor->pages);
    }
    program.tensors.push_back(std::move(tensor));
}

inline void parse_units(JobLine& line, Program& program, bool sharded) {
    const std::uint32_t index = line.number();
    if (index >= program.tensors.size()) {
        bad_job("the place of an unknown tensor");
    }
    Tensor& tensor = *program.tensors[index];
    if (sharded) {
        tensor.contiguous = line.number() != 0;
        tensor.dims.resize(line.number());
        for (Tensor::Dimension& dim : tensor.dims) {
            dim.pages = line.number();
        }
        for (Tensor::Dimension& dim : tensor.dims) {
            dim.shard = line.number();
            if (dim.pages == 0 || dim.shard == 0) {
                bad_job("the shards of tensor " + tensor.name);
            }
        }
    }
    tensor.units = line.list<std::uint32_t>([&] { return line.number(); });
    line.end();
    std::size_t pages = 1;
    for (const Tensor::Dimension& dim : tensor.dims) {
        pages *= dim.pages;
    }
    if (tensor.units.empty() || (sharded && (pages != tensor.pages || tensor.units.size() > tensor.shards()))) {
        bad_job("the place of tensor " + tensor.name);
    }
}

inline std::vector<Place> parse_places(JobLine& line) {
    return line.list<Place>([&] {
        const auto x = static_cast<std::int32_t>(line.number());
        return Place{x, static_cast<std::int32_t>(line.number())};
    });
}

inline void parse_line(const std::string& keyword, JobLine& line, Program& program) {
    if (keyword == "chip") {
        program.blackhole = line.word() == "blackhole";
        program.l1_bytes = line.number();
        program.l1_used = line.number();
    } else if (keyword == "run") {
        program.threads = line.number();
        program.timeout_ms = line.number();
    } else if (keyword == "torus") {
        program.has_places = true;
        program.torus_x = static_cast<std::int32_t>(line.number());
        program.torus_y = static_cast<std::int32_t>(line.number());
    } else if (keyword == "banks") {
        program.banks = parse_places(line);
    } else if (keyword == "workers") {
        program.workers = parse_places(line);
    } else if (keyword == "semaphore") {
        SemaphoreSpec semaphore{};
        semaphore.id = line.number();
        semaphore.name = line.word();
        semaphore.initial = line.number();
        semaphore.address = line.number();
        program.semaphores.push_back(semaphore);
    } else if (keyword == "compute") {
        program.fp32_dest = line.number() != 0;
        const std::string fidelity = line.word();
        program.fidelity = fidelity == "LoFi"    ? Fidelity::LoFi
                           : fidelity == "HiFi2" ? Fidelity::HiFi2
                           : fidelity == "HiFi3" ? Fidelity::HiFi3
                                                 : Fidelity::HiFi4;
    } else if (keyword == "common_args") {
        program.common_args = line.list<std::uint32_t>([&] { return line.number(); });
    } else if (keyword == "tensor") {
        parse_tensor(line, program);
    } else if (keyword == "interleaved" || keyword == "sharded") {
        parse_units(line, program, keyword == "sharded");
    } else if (keyword == "cb") {
        CircularBufferSpec cb{};
        cb.index = line.number();
        cb.name = line.word();
        cb.format = parse_format(line.word());
        cb.page_bytes = line.number();
        cb.pages = line.number();
        cb.address = line.number();
        cb.tensor = line.index();
        cb.unpack_to_dest = line.number() != 0;
        cb.kept = line.number() != 0;
        if (cb.index >= 64 || cb.pages == 0 || cb.page_bytes == 0 ||
            (cb.tensor != no_index && cb.tensor >= program.tensors.size())) {
            bad_job("circular buffer " + cb.name);
        }
        program.cbs.push_back(cb);
    } else if (keyword == "kernel") {
        KernelSpec kernel{};
        const std::string role = line.word();
        kernel.role = role == "reader" ? Role::reader : role == "compute" ? Role::compute : Role::writer;
        kernel.raw_l1 = line.number() != 0;
        kernel.source = line.word();
        kernel.object = line.rest();
        program.kernels.push_back(kernel);
    } else if (keyword == "core") {
        CoreSpec core;
        core.x = line.number();
        core.y = line.number();
        core.place.x = static_cast<std::int32_t>(line.number());
        core.place.y = static_cast<std::int32_t>(line.number());
        core.runs = line.number() != 0;
        core.args = line.list<std::uint32_t>([&] { return line.number(); });
        program.cores.push_back(core);
    } else if (keyword == "report") {
        program.report = line.rest();
    } else {
        bad_job("unknown declaration " + keyword);
    }
}

inline Program read_job(const char* path) {
    std::ifstream file(path);
    std::string text;
    if (!std::getline(file, text) || text != "tilelang-tt-emulator-job 1") {
        bad_job("not a job of this version");
    }
    Program program;
    while (std::getline(file, text)) {
        JobLine line(text);
        parse_line(line.word(), line, program);
    }
    if (program.report.empty() || program.banks.empty() || program.l1_bytes == 0) {
        bad_job("it lacks a declaration");
    }
    return program;
}
